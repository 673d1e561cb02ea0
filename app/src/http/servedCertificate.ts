import type { Server } from "node:https";
import { createSecureContext, type SecureContextOptions } from "node:tls";
import type { Logger } from "pino";
import { MountedFile } from "../files/mountedFile.ts";

/** The certificate chain and the key of one PEM file, or as a string what is wrong with it, never quoting it. */
export function parseBundle(pem: string): SecureContextOptions | string {
  // Whoever connects is one of ours, and speaks it.
  const options: SecureContextOptions = { cert: pem, key: pem, minVersion: "TLSv1.3" };
  try {
    createSecureContext(options);
    return options;
  } catch {
    return "expected PEM: a certificate chain, then the key that belongs to it";
  }
}

/** What a server proves its name with: the mounted file, which is replaced in place when it is renewed. */
export class ServedCertificate {
  readonly #file: MountedFile<SecureContextOptions>;
  readonly #lookEveryMs: number;

  constructor(path: string, logger: Logger, lookEveryMs = 5_000) {
    this.#lookEveryMs = lookEveryMs;
    this.#file = new MountedFile(path, parseBundle, logger.child({ module: "certificate" }), 0);
  }

  /** @throws when the file cannot be used: a server without a certificate would answer nobody. */
  async load(): Promise<SecureContextOptions> {
    const options = await this.#file.current();
    if (!options) {
      throw new Error("the certificate's file cannot be used");
    }
    return options;
  }

  /** New connections get a new certificate; those that are open go on as they are. Gives what ends it. */
  renew(server: Server, served: SecureContextOptions): () => void {
    let current = served;
    const timer = setInterval(() => {
      void this.load().then((options) => {
        if (options !== current) {
          server.setSecureContext(options);
          current = options;
        }
      });
    }, this.#lookEveryMs);
    timer.unref();
    return () => {
      clearInterval(timer);
    };
  }
}
