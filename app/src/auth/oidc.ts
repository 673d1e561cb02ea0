import { createRemoteJWKSet, errors, jwtVerify } from "jose";
import { z } from "zod";
import type { OidcConfig } from "../config/settings.ts";
import { Unavailable } from "../http/problem.ts";
import { roles } from "./rules.ts";
import type { Principal } from "./tokens.ts";

/** Asymmetric ones only: with a public key for a shared secret, anyone could sign. */
const algorithms = ["RS256", "PS256", "ES256", "EdDSA"];
const timeoutMs = 2000;

/** Finds a tenant by name; null when there is none. */
type FindTenant = (name: string) => Promise<string | null>;
type KeySet = ReturnType<typeof createRemoteJWKSet>;

/**
 * Verifies bearer tokens of an OpenID Connect issuer. Its users are its own: they are in no list here, and whom it no
 * longer trusts it gives no more tokens. Their subjects are written `oidc:<sub>`, so as not to pass for one of ours.
 */
export class OidcIssuer {
  readonly issuer: string;
  readonly #config: OidcConfig;
  readonly #findTenant: FindTenant;
  readonly #tenants = new Map<string, string>();
  #keys: Promise<KeySet> | undefined;

  constructor(config: OidcConfig, findTenant: FindTenant) {
    this.issuer = config.issuer;
    this.#config = config;
    this.#findTenant = findTenant;
  }

  /** @throws whatever is wrong with the token; Unavailable when the issuer does not answer. */
  async verify(token: string): Promise<Principal> {
    const { issuer, audience, tenantClaim, roleClaim } = this.#config;
    const keys = await this.#keySet();
    const { payload } = await jwtVerify(token, keys, {
      algorithms,
      issuer,
      audience,
      requiredClaims: ["exp", "iat", "sub"],
      clockTolerance: 5,
    }).catch((error: unknown) => {
      // What is not about the token is about fetching the keys.
      const aboutFetching = !(error instanceof errors.JOSEError) || error.code === "ERR_JWKS_TIMEOUT";
      const isFetching =
        aboutFetching || error.code === "ERR_JOSE_GENERIC" || error.code === "ERR_JWKS_INVALID";
      throw isFetching ? new Unavailable("the OIDC issuer's keys cannot be fetched", error) : error;
    });
    const claimed = z.union([z.string(), z.array(z.string())]).parse(payload[roleClaim]);
    const role = roles.find((known) => [claimed].flat().includes(known));
    const tenantId = await this.#tenant(z.string().max(63).parse(payload[tenantClaim]));
    return {
      subject: `oidc:${z.string().min(1).max(200).parse(payload.sub)}`,
      role: z.enum(roles).parse(role),
      tenantId: z.uuid().parse(tenantId),
    };
  }

  /** Names do not change their tenant, so that one look-up is enough; unknown ones are not kept. */
  async #tenant(name: string): Promise<string | null> {
    const id = this.#tenants.get(name) ?? (await this.#findTenant(name));
    if (id !== null) {
      this.#tenants.set(name, id);
    }
    return id;
  }

  #keySet(): Promise<KeySet> {
    this.#keys ??= this.#discover().catch((error: unknown) => {
      this.#keys = undefined;
      throw new Unavailable("the OIDC issuer does not answer", error);
    });
    return this.#keys;
  }

  async #discover(): Promise<KeySet> {
    const url = `${this.issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
    const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs), redirect: "error" });
    const { jwks_uri } = z
      .object({ issuer: z.literal(this.issuer), jwks_uri: z.url({ protocol: /^https?$/ }) })
      .parse(await response.json());
    return createRemoteJWKSet(new URL(jwks_uri), { timeoutDuration: timeoutMs });
  }
}
