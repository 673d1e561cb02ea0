import { readFile, stat } from "node:fs/promises";
import type { Logger } from "pino";

/**
 * What a mounted file now says. The file is looked at no more than once per interval, by path: Kubernetes swaps a
 * symbolic link when a secret or a ConfigMap changes, which file watchers miss.
 */
export class MountedFile<T> {
  readonly #path: string;
  readonly #parse: (text: string) => T | string;
  readonly #logger: Logger;
  readonly #checkIntervalMs: number;
  #loaded: { content: T; version: string } | undefined;
  #checkedAt = Number.NEGATIVE_INFINITY;
  #checking: Promise<void> | undefined;
  #complaint: string | undefined;

  /** `parse` gives the content, or as a string what is wrong with the text, never quoting it: it may be a secret. */
  constructor(path: string, parse: (text: string) => T | string, logger: Logger, checkIntervalMs = 1000) {
    this.#path = path;
    this.#parse = parse;
    this.#logger = logger;
    this.#checkIntervalMs = checkIntervalMs;
  }

  /** Undefined until the file was usable once; a file that turns bad is reported, and what was read before stays. */
  async current(): Promise<T | undefined> {
    if (performance.now() - this.#checkedAt >= this.#checkIntervalMs) {
      this.#checking ??= this.#check().finally(() => {
        this.#checkedAt = performance.now();
        this.#checking = undefined;
      });
      await this.#checking;
    }
    return this.#loaded?.content;
  }

  async #check(): Promise<void> {
    try {
      const { mtimeMs, ino, size } = await stat(this.#path);
      const version = `${mtimeMs}:${ino}:${size}`;
      if (version === this.#loaded?.version) {
        return;
      }
      const content = this.#parse(await readFile(this.#path, "utf8"));
      if (typeof content === "string") {
        this.#complain(`file refused: ${content}`);
        return;
      }
      this.#loaded = { content, version };
      this.#complaint = undefined;
      this.#logger.info({ path: this.#path }, "file read");
    } catch (error) {
      this.#complain(`file cannot be read: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  /** Once per reason, not once per look. */
  #complain(reason: string): void {
    if (reason !== this.#complaint) {
      this.#complaint = reason;
      this.#logger.error({ path: this.#path, reason }, "mounted file not used, what was read before stays");
    }
  }
}
