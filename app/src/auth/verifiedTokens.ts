import { decodeJwt } from "jose";
import type { KeyStore } from "./keyStore.ts";
import type { SigningKeys } from "./keyFile.ts";
import { type Principal, Tokens } from "./tokens.ts";

/** Longest that a token is believed unseen, so that whatever else verification may come to ask is asked again soon. */
const longestSeconds = 60;
const mostTokens = 10_000;

/**
 * Remembers who each verified token is, as verifying costs more than all else in a request. A token is verified again
 * when it expires, after a minute, and when the key file changes: a key taken out of it is refused at once.
 */
export class VerifiedTokens extends Tokens {
  readonly #keys: KeyStore;
  readonly #verified = new Map<string, { principal: Principal; until: number }>();
  #verifiedBy: SigningKeys | undefined;

  constructor(...args: ConstructorParameters<typeof Tokens>) {
    super(...args);
    this.#keys = args[0];
  }

  override async verify(token: string): Promise<Principal> {
    // Without them, those of the OIDC issuer are verified all the same.
    const keys = await this.#keys.current().catch(() => undefined);
    if (keys !== this.#verifiedBy) {
      this.#verified.clear();
      this.#verifiedBy = keys;
    }
    const known = this.#verified.get(token);
    if (known && known.until > Date.now()) {
      return known.principal;
    }
    const principal = await super.verify(token);
    const { exp = 0 } = decodeJwt(token);
    if (this.#verified.size >= mostTokens) {
      this.#verified.clear();
    }
    // Verified by keys that have been replaced meanwhile, it must not outlive them.
    if (keys === this.#verifiedBy) {
      this.#verified.set(token, {
        principal,
        until: Math.min(exp * 1000, Date.now() + longestSeconds * 1000),
      });
    }
    return principal;
  }
}
