import type * as pulumi from "@pulumi/pulumi";

import type { SecretStore, StoredSecret } from "./secrets/secretStore.ts";

/** What a server inside the cluster proves its name with. */
export interface ServerCertificate {
  /** Certificate chain, then private key, as one PEM text. */
  readonly bundle: StoredSecret;
  /** PEM of the authority that signed it: whoever connects trusts this one and no other. */
  readonly ca: StoredSecret;
}

/** The certificates of the servers inside the cluster, as they are configured; without a value, the vault has it. */
export interface GivenCertificates {
  readonly internalCa?: pulumi.Output<string>;
  readonly postgresTls?: pulumi.Output<string>;
  readonly redisTls?: pulumi.Output<string>;
  readonly appTls?: pulumi.Output<string>;
  readonly azuriteTls?: pulumi.Output<string>;
}

/** Keeps them in the store, all under one authority. */
export function keepCertificates(
  secrets: SecretStore,
  given: GivenCertificates,
): Readonly<Record<"postgres" | "redis" | "app" | "azurite", ServerCertificate>> {
  const ca = secrets.keep("internal-ca", given.internalCa);
  return {
    postgres: { bundle: secrets.keep("postgres-tls", given.postgresTls), ca },
    redis: { bundle: secrets.keep("redis-tls", given.redisTls), ca },
    app: { bundle: secrets.keep("app-tls", given.appTls), ca },
    azurite: { bundle: secrets.keep("azurite-tls", given.azuriteTls), ca },
  };
}

/** The public part of a bundle: its certificates without the key. */
export function certificatesOf(pem: string): string {
  return (pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? []).join("\n") + "\n";
}

/** The other part: the key without the certificates. */
export function privateKeyOf(pem: string): string {
  return pem.slice(pem.search(/-----BEGIN (EC |RSA )?PRIVATE KEY-----/));
}
