import { readFile } from "node:fs/promises";
import type { Logger } from "pino";

/**
 * What somebody has written into a file to change the service while it runs. It is looked at no more than once a second;
 * no file, or one that cannot be read, says nothing.
 */
export class SwitchFile {
  readonly #path: string | undefined;
  readonly #logger: Logger;
  readonly #checkIntervalMs: number;
  #text = "";
  #checkedAt = Number.NEGATIVE_INFINITY;

  constructor(path: string | undefined, logger: Logger, checkIntervalMs = 1000) {
    this.#path = path;
    this.#logger = logger.child({ module: "switch" });
    this.#checkIntervalMs = checkIntervalMs;
  }

  /** Its text, without the space around it. */
  async current(): Promise<string> {
    if (this.#path !== undefined && performance.now() - this.#checkedAt >= this.#checkIntervalMs) {
      const text = (await readFile(this.#path, "utf8").catch(() => "")).trim();
      this.#checkedAt = performance.now();
      if (text !== this.#text) {
        this.#text = text;
        this.#logger.warn({ path: this.#path, text }, "switched");
      }
    }
    return this.#text;
  }
}
