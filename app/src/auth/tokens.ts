import { randomUUID } from "node:crypto";
import { decodeJwt, errors, jwtVerify, SignJWT } from "jose";
import { z } from "zod";
import type { JwtConfig } from "../config/settings.ts";
import { Unavailable, unauthorized } from "../http/problem.ts";
import type { KeyStore } from "./keyStore.ts";
import type { OidcIssuer } from "./oidc.ts";
import { roles } from "./rules.ts";

/** Who is asking, as the access token says. */
export interface Principal {
  subject: string;
  role: (typeof roles)[number];
  tenantId: string;
}

/** RFC 9068's type for access tokens keeps other tokens signed with the same keys from passing for one. */
const tokenType = "at+jwt";
const algorithm = "HS256";
/** Long enough to spare most requests a refresh, short enough to wait for after a user was disabled. */
export const accessTokenSeconds = 15 * 60;
const clockToleranceSeconds = 5;

const claims = z.object({ sub: z.string().min(1), role: z.enum(roles), tenant_id: z.uuid() });

/** Signs access tokens with the active key; verifies those of every key in the file, and of the OIDC issuer if any. */
export class Tokens {
  readonly #keys: KeyStore;
  readonly #config: JwtConfig;
  readonly #oidc: OidcIssuer | undefined;

  constructor(keys: KeyStore, config: JwtConfig, oidc?: OidcIssuer) {
    this.#keys = keys;
    this.#config = config;
    this.#oidc = oidc;
  }

  async sign({ subject, role, tenantId }: Principal): Promise<string> {
    const { active, keys } = await this.#keys.current();
    const key = keys.get(active);
    if (!key) {
      throw new Error(`no key ${active}`);
    }
    return new SignJWT({ role, tenant_id: tenantId })
      .setProtectedHeader({ alg: algorithm, kid: active, typ: tokenType })
      .setSubject(subject)
      .setIssuer(this.#config.issuer)
      .setAudience(this.#config.audience)
      .setIssuedAt()
      .setExpirationTime(`${accessTokenSeconds}s`)
      .setJti(randomUUID())
      .sign(key);
  }

  /** @throws a 401 problem for whatever is not a token of ours or the OIDC issuer's, valid now; Unavailable. */
  async verify(token: string): Promise<Principal> {
    try {
      // Unverified as yet, the issuer only decides who verifies: each with its own keys, algorithms and issuer.
      return this.#oidc && decodeJwt(token).iss === this.#oidc.issuer
        ? await this.#oidc.verify(token)
        : await this.#verifyOurs(token);
    } catch (error) {
      if (error instanceof Unavailable) {
        throw error;
      }
      throw unauthorized(
        error instanceof errors.JWTExpired ? "the token has expired" : "the token is not valid",
      );
    }
  }

  async #verifyOurs(token: string): Promise<Principal> {
    const { keys } = await this.#keys.current();
    const { payload } = await jwtVerify(
      token,
      ({ kid }) => {
        const key = kid === undefined ? undefined : keys.get(kid);
        if (!key) {
          throw new errors.JWKSNoMatchingKey();
        }
        return key;
      },
      {
        algorithms: [algorithm],
        typ: tokenType,
        issuer: this.#config.issuer,
        audience: this.#config.audience,
        requiredClaims: ["exp", "iat"],
        maxTokenAge: accessTokenSeconds,
        clockTolerance: clockToleranceSeconds,
      },
    );
    const { sub, role, tenant_id } = claims.parse(payload);
    return { subject: sub, role, tenantId: tenant_id };
  }
}
