import { readFile, stat } from "node:fs/promises";
import type { Logger } from "pino";
import { Unavailable } from "../http/problem.ts";
import { parseKeyFile, type SigningKeys } from "./keyFile.ts";

/**
 * The signing keys as the mounted file now has them. The file is looked at no more than once a second, by path:
 * Kubernetes swaps a symbolic link when a secret changes, which file watchers miss. A file that turns bad is
 * reported and the keys in use stay.
 */
export class KeyStore {
  readonly #path: string | undefined;
  readonly #logger: Logger;
  readonly #checkIntervalMs: number;
  #loaded: { keys: SigningKeys; version: string } | undefined;
  #checkedAt = Number.NEGATIVE_INFINITY;
  #checking: Promise<void> | undefined;

  constructor(path: string | undefined, logger: Logger, checkIntervalMs = 1000) {
    this.#path = path;
    this.#logger = logger.child({ module: "auth" });
    this.#checkIntervalMs = checkIntervalMs;
  }

  /** @throws Unavailable while no usable key file is configured. */
  async current(): Promise<SigningKeys> {
    if (this.#path === undefined) {
      throw new Unavailable("JWT_KEYS_FILE is not set");
    }
    if (performance.now() - this.#checkedAt >= this.#checkIntervalMs) {
      this.#checking ??= this.#check(this.#path).finally(() => {
        this.#checkedAt = performance.now();
        this.#checking = undefined;
      });
      await this.#checking;
    }
    if (!this.#loaded) {
      throw new Unavailable("the file named by JWT_KEYS_FILE cannot be used");
    }
    return this.#loaded.keys;
  }

  async #check(path: string): Promise<void> {
    try {
      const { mtimeMs, ino, size } = await stat(path);
      const version = `${mtimeMs}:${ino}:${size}`;
      if (version === this.#loaded?.version) {
        return;
      }
      const keys = parseKeyFile(await readFile(path, "utf8"));
      if (typeof keys === "string") {
        this.#logger.error({ reason: keys }, "key file refused, keys in use stay");
        return;
      }
      this.#loaded = { keys, version };
      this.#logger.info({ active: keys.active, keys: [...keys.keys.keys()] }, "signing keys read");
    } catch (error) {
      this.#logger.error({ error }, "key file cannot be read, keys in use stay");
    }
  }
}
