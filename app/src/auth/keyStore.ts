import type { Logger } from "pino";
import { MountedFile } from "../files/mountedFile.ts";
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
 * The keys as the mounted file now has them; those that sign, unless told otherwise. A file that turns bad is reported
 * and the keys in use stay.
 */
export class KeyStore {
  readonly #file: MountedFile<SigningKeys> | undefined;
  readonly #variable: string;

  constructor(path: string | undefined, logger: Logger, checkIntervalMs?: number, kind = signing) {
    this.#variable = kind.variable;
    this.#file =
      path === undefined
        ? undefined
        : new MountedFile(path, kind.parse, logger.child({ module: "auth" }), checkIntervalMs);
  }

  /** @throws Unavailable while no usable key file is configured. */
  async current(): Promise<SigningKeys> {
    const keys = await this.#file?.current();
    if (!keys) {
      throw new Unavailable(
        this.#file ? `the file named by ${this.#variable} cannot be used` : `${this.#variable} is not set`,
      );
    }
    return keys;
  }
}
