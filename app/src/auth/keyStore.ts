import { readFile, stat } from "node:fs/promises";
import type { Logger } from "pino";
import { Unavailable } from "../http/problem.ts";
import { parseFieldKeyFile, parseKeyFile, type SigningKeys } from "./keyFile.ts";

/** What kind of keys a file holds. */
interface KeyKind {
  variable: string;
  parse: (text: string) => SigningKeys | string;
}

const signing: KeyKind = { variable: "JWT_KEYS_FILE", parse: parseKeyFile };
const fields: KeyKind = { variable: "FIELD_KEYS_FILE", parse: parseFieldKeyFile };

/** The keys that encrypt columns; a file with a key of another size than AES-256 takes is refused. */
export function fieldKeyStore(path: string | undefined, logger: Logger, checkIntervalMs?: number): KeyStore {
  return new KeyStore(path, logger, checkIntervalMs, fields);
}

/**
 * The keys as the mounted file now has them; those that sign, unless told otherwise. The file is looked at no more
 * than once a second, by path: Kubernetes swaps a symbolic link when a secret changes, which file watchers miss. A
 * file that turns bad is reported and the keys in use stay.
 */
export class KeyStore {
  readonly #path: string | undefined;
  readonly #logger: Logger;
  readonly #checkIntervalMs: number;
  readonly #kind: KeyKind;
  #loaded: { keys: SigningKeys; version: string } | undefined;
  #checkedAt = Number.NEGATIVE_INFINITY;
  #checking: Promise<void> | undefined;

  constructor(path: string | undefined, logger: Logger, checkIntervalMs = 1000, kind = signing) {
    this.#path = path;
    this.#logger = logger.child({ module: "auth" });
    this.#checkIntervalMs = checkIntervalMs;
    this.#kind = kind;
  }

  /** @throws Unavailable while no usable key file is configured. */
  async current(): Promise<SigningKeys> {
    if (this.#path === undefined) {
      throw new Unavailable(`${this.#kind.variable} is not set`);
    }
    if (performance.now() - this.#checkedAt >= this.#checkIntervalMs) {
      this.#checking ??= this.#check(this.#path).finally(() => {
        this.#checkedAt = performance.now();
        this.#checking = undefined;
      });
      await this.#checking;
    }
    if (!this.#loaded) {
      throw new Unavailable(`the file named by ${this.#kind.variable} cannot be used`);
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
      const keys = this.#kind.parse(await readFile(path, "utf8"));
      if (typeof keys === "string") {
        this.#logger.error(
          { variable: this.#kind.variable, reason: keys },
          "key file refused, keys in use stay",
        );
        return;
      }
      this.#loaded = { keys, version };
      this.#logger.info(
        { variable: this.#kind.variable, active: keys.active, keys: [...keys.keys.keys()] },
        "keys read",
      );
    } catch (error) {
      this.#logger.error(
        { variable: this.#kind.variable, error },
        "key file cannot be read, keys in use stay",
      );
    }
  }
}
