import type { Logger } from "pino";
import { MountedFile } from "../files/mountedFile.ts";
import { Unavailable } from "../http/problem.ts";
import { parseKeyFile, type SigningKeys } from "./keyFile.ts";

/** The signing keys as the mounted file now has them. A file that turns bad is reported and the keys in use stay. */
export class KeyStore {
  readonly #file: MountedFile<SigningKeys> | undefined;

  constructor(path: string | undefined, logger: Logger, checkIntervalMs?: number) {
    this.#file =
      path === undefined
        ? undefined
        : new MountedFile(path, parseKeyFile, logger.child({ module: "auth" }), checkIntervalMs);
  }

  /** @throws Unavailable while no usable key file is configured. */
  async current(): Promise<SigningKeys> {
    const keys = await this.#file?.current();
    if (!keys) {
      throw new Unavailable(
        this.#file ? "the file with the keys cannot be used" : "no file with keys is configured",
      );
    }
    return keys;
  }
}
