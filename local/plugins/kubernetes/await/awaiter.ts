import { setTimeout as sleep } from "node:timers/promises";
import { numberAt, textAt, type JsonObject } from "../../common/wire.ts";
import { ApiError, type Client } from "../client.ts";
import { annotation, apiVersionOf, kindOf, nameOf, namespaceOf } from "../objects.ts";
import { diagnosePods } from "./diagnose.ts";
import { otherAwaiters } from "./others.ts";
import type { Awaiter } from "./types.ts";
import { workloadAwaiters } from "./workloads.ts";

/** The object was accepted, but did not become ready; the reasons say what is known of why. */
export class NotReadyError extends Error {
  readonly reasons: string[];
  constructor(summary: string, reasons: string[]) {
    super(summary);
    this.reasons = [summary, ...reasons];
  }
}

export interface Wait {
  client: Client;
  /** Seconds from `customTimeouts`, 0 for the default of the kind. */
  timeoutSeconds: number;
  signal: AbortSignal;
  report: (severity: "info" | "warning", message: string) => void;
}

const POLL_MILLISECONDS = 250;
const REPORT_MILLISECONDS = 2000;
const DELETE_TIMEOUT_SECONDS = 600;

const BUILT_IN = /^(v1|apps\/v1|batch\/v1|networking\.k8s\.io\/v1|apiextensions\.k8s\.io\/v1)$/;

export function awaiterFor(object: JsonObject): Awaiter | undefined {
  if (annotation(object, "pulumi.com/skipAwait") === "true" || !BUILT_IN.test(apiVersionOf(object)))
    return undefined;
  return workloadAwaiters[kindOf(object)] ?? otherAwaiters[kindOf(object)];
}

/** Seconds to wait: what the program sets, else the annotation, else the default. */
function limitSeconds(inputs: JsonObject, wait: Wait, defaultSeconds: number): number {
  return wait.timeoutSeconds || Number(annotation(inputs, "pulumi.com/timeoutSeconds")) || defaultSeconds;
}

/** Waits until the object is ready and returns its last state; throws NotReadyError when it will not be. */
export async function untilReady(created: JsonObject, inputs: JsonObject, wait: Wait): Promise<JsonObject> {
  const awaiter = awaiterFor(inputs);
  if (!awaiter) return created;
  const { client } = wait;
  const name = `${kindOf(created)} ${namespaceOf(created)}/${nameOf(created)}`;
  const seconds = limitSeconds(inputs, wait, awaiter.timeoutSeconds);
  const feed = new Feed(client, created, wait.signal);
  const deadline = Date.now() + seconds * 1000;
  let nextReport = Date.now() + REPORT_MILLISECONDS;
  let checked: JsonObject | undefined;
  let messages: string[] = [];
  const giveUp = async (summary: string): Promise<never> => {
    const known = await diagnosePods(feed.live, awaiter, client, "everything").catch(() => []);
    throw new NotReadyError(summary, [...messages, ...known]);
  };
  try {
    for (;;) {
      const live = feed.live;
      if (live !== checked || awaiter.dependsOnOthers) {
        checked = live;
        const readiness = await awaiter.check(live, client, created);
        if (readiness.state === "ready") return live;
        messages = readiness.messages;
        wait.report("info", messages.join("; "));
        if (readiness.state === "failed") await giveUp(`${name} has failed`);
      }
      if (wait.signal.aborted) await giveUp(`cancelled while waiting for ${name}`);
      if (Date.now() >= deadline) await giveUp(`${name} was not ready within ${seconds} s`);
      if (Date.now() >= nextReport) {
        nextReport = Date.now() + REPORT_MILLISECONDS;
        const states = await diagnosePods(live, awaiter, client, "states").catch(() => []);
        if (states.length > 0) wait.report("warning", states.join("; "));
      }
      await Promise.race([feed.changed(), sleep(POLL_MILLISECONDS)]);
    }
  } finally {
    feed.close();
  }
}

/** Says why a live object is not ready at this moment; nothing when it is. */
export async function whyNotReady(live: JsonObject, inputs: JsonObject, client: Client): Promise<string[]> {
  const awaiter = awaiterFor(inputs);
  if (!awaiter) return [];
  const readiness = await awaiter.check(live, client);
  if (readiness.state === "ready") return [];
  const states = await diagnosePods(live, awaiter, client, "states").catch(() => []);
  return [...readiness.messages, ...states];
}

/** Waits until the object is gone, that is until it and (in the foreground) what it owns are deleted. */
export async function untilGone(path: string, inputs: JsonObject, wait: Wait): Promise<void> {
  const seconds = limitSeconds(inputs, wait, DELETE_TIMEOUT_SECONDS);
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const live = await wait.client.request("GET", path).catch((error: unknown) => {
      if (error instanceof ApiError && error.code === 404) return undefined;
      throw error;
    });
    if (!live) return;
    const left = numberAt(live, "status", "replicas");
    const phase = textAt(live, "status", "phase");
    wait.report(
      "info",
      `Waiting to be deleted${left ? ` (${left} Pods left)` : ""}${phase && ` (${phase})`}`,
    );
    if (wait.signal.aborted) throw new Error(`cancelled while waiting for ${path} to be deleted`);
    if (Date.now() >= deadline) throw new Error(`${path} still exists ${seconds} s after its deletion`);
    await sleep(POLL_MILLISECONDS);
  }
}

/** The latest state of one object, kept up to date by a watch that is taken up again when it breaks. */
class Feed {
  live: JsonObject;
  readonly #stop = new AbortController();
  #wake: () => void = () => undefined;

  constructor(client: Client, created: JsonObject, signal: AbortSignal) {
    this.live = created;
    signal.addEventListener(
      "abort",
      () => {
        this.#wake();
      },
      { once: true, signal: this.#stop.signal },
    );
    void this.#follow(client);
  }

  changed(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  close(): void {
    this.#stop.abort();
  }

  async #follow(client: Client): Promise<void> {
    const [apiVersion, kind, namespace] = [
      apiVersionOf(this.live),
      kindOf(this.live),
      namespaceOf(this.live),
    ];
    while (!this.#stop.signal.aborted) {
      try {
        const query = { fieldSelector: `metadata.name=${nameOf(this.live)}` };
        await client.watch(
          await client.path(apiVersion, kind, namespace),
          query,
          this.#stop.signal,
          (type, object) => {
            if (type === "BOOKMARK") return;
            this.live = object;
            this.#wake();
          },
        );
      } catch {
        // Closed, or broken: the loop decides.
      }
      await sleep(POLL_MILLISECONDS);
    }
  }
}
