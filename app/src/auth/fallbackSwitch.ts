import { readFile } from "node:fs/promises";
import type { Logger } from "pino";

/**
 * Whether the emergency sign-in is on: the file named by FALLBACK_SIGN_IN_FILE says `on`. It is looked at no more than
 * once a second, so that it can be switched without a rollout; no file is off.
 */
export class FallbackSwitch {
  readonly #path: string | undefined;
  readonly #logger: Logger;
  readonly #checkIntervalMs: number;
  #on = false;
  #checkedAt = Number.NEGATIVE_INFINITY;

  constructor(path: string | undefined, logger: Logger, checkIntervalMs = 1000) {
    this.#path = path;
    this.#logger = logger.child({ module: "auth" });
    this.#checkIntervalMs = checkIntervalMs;
  }

  async isOn(): Promise<boolean> {
    if (this.#path !== undefined && performance.now() - this.#checkedAt >= this.#checkIntervalMs) {
      const on = (await readFile(this.#path, "utf8").catch(() => "")).trim() === "on";
      this.#checkedAt = performance.now();
      if (on !== this.#on) {
        this.#on = on;
        this.#logger.warn({ on }, "fallback sign-in switched");
      }
    }
    return this.#on;
  }
}
