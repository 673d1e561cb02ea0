import type { Logger } from "pino";
import { within } from "../deadline.ts";

export interface Dependency {
  /** Resolves when the dependency can be used, rejects with the reason when not. */
  check: () => Promise<unknown>;
  /** The service works without it, if slower: its loss is shown, and traffic still comes here. */
  optional?: boolean;
}

export interface DependencyState {
  state: "up" | "degraded" | "down";
  latencyMs: number;
}

export interface ReadinessReport {
  status: "ready" | "not ready" | "shutting down";
  dependencies: Record<string, DependencyState>;
}

const timeoutMs = 2000;
/** /ready is reachable from outside: however often it is asked, dependencies are asked once in this time. */
const reuseMs = 500;

/** Whether traffic should come here: every dependency that is needed answers, and the service is not on its way out. */
export class Readiness {
  readonly #dependencies: Record<string, Dependency>;
  readonly #logger: Logger;
  readonly #lastStates = new Map<string, DependencyState["state"]>();
  #running: Promise<Record<string, DependencyState>> | undefined;
  #shuttingDown = false;

  constructor(dependencies: Record<string, Dependency>, logger: Logger) {
    this.#dependencies = dependencies;
    this.#logger = logger.child({ module: "readiness" });
  }

  get shuttingDown(): boolean {
    return this.#shuttingDown;
  }

  shutDown(): void {
    this.#shuttingDown = true;
  }

  async report(): Promise<ReadinessReport> {
    this.#running ??= this.#checkAll();
    const dependencies = await this.#running;
    const ready = Object.values(dependencies).every(({ state }) => state !== "down");
    return { status: this.#shuttingDown ? "shutting down" : ready ? "ready" : "not ready", dependencies };
  }

  async #checkAll(): Promise<Record<string, DependencyState>> {
    const states = await Promise.all(
      Object.entries(this.#dependencies).map(
        async ([name, dependency]) => [name, await this.#check(name, dependency)] as const,
      ),
    );
    setTimeout(() => {
      this.#running = undefined;
    }, reuseMs).unref();
    return Object.fromEntries(states);
  }

  async #check(name: string, { check, optional = false }: Dependency): Promise<DependencyState> {
    const start = performance.now();
    const reason = await outcome(check);
    const state = reason === undefined ? "up" : optional ? "degraded" : "down";
    if (state !== (this.#lastStates.get(name) ?? "up")) {
      this.#logger[state === "up" ? "info" : "warn"](
        { dependency: name, state, error: reason },
        "dependency changed",
      );
    }
    this.#lastStates.set(name, state);
    return { state, latencyMs: Math.round((performance.now() - start) * 10) / 10 };
  }
}

/** What went wrong, if anything did in time. */
async function outcome(check: Dependency["check"]): Promise<unknown> {
  try {
    await within(timeoutMs, check());
    return undefined;
  } catch (error) {
    return error;
  }
}
