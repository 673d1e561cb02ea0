import type { Logger } from "pino";
import { MountedFile } from "../files/mountedFile.ts";

/** Sent where no key is configured: some servers in one's own network want none, but the protocol has the header. */
const noKey = "none";

/** One key per line; blank lines do not count. */
export function parseApiKeys(text: string): string[] | string {
  const keys = text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);
  return keys.length > 0 && keys.every((key) => /^[\x21-\x7e]{1,1024}$/.test(key))
    ? keys
    : "expected one key per line, without spaces";
}

/** A provider's keys in the file's order, less those that it asked to leave alone for a while. */
export class ApiKeys {
  readonly #file: MountedFile<string[]> | undefined;
  readonly #restUntil = new Map<string, number>();

  constructor(path: string | undefined, logger: Logger) {
    this.#file = path === undefined ? undefined : new MountedFile(path, parseApiKeys, logger);
  }

  async usable(): Promise<string[]> {
    const keys = this.#file ? ((await this.#file.current()) ?? []) : [noKey];
    for (const key of this.#restUntil.keys()) {
      if (!keys.includes(key)) {
        this.#restUntil.delete(key);
      }
    }
    const now = performance.now();
    return keys.filter((key) => (this.#restUntil.get(key) ?? 0) <= now);
  }

  rest(key: string, seconds: number): void {
    if (seconds > 0) {
      this.#restUntil.set(key, performance.now() + seconds * 1000);
    }
  }

  /** Milliseconds until a key can be used; 0 when one can now. */
  async untilUsable(): Promise<number> {
    return (await this.usable()).length > 0 || this.#restUntil.size === 0
      ? 0
      : Math.max(0, Math.min(...this.#restUntil.values()) - performance.now());
  }
}
