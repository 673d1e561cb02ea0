import { createHash } from "node:crypto";

import * as pulumi from "@pulumi/pulumi";

import type { SecretStore, StoredSecret } from "./secrets/secretStore";

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
}

/** Keeps them in the store, all under one authority. */
export function keepCertificates(
  secrets: SecretStore,
  given: GivenCertificates,
): Readonly<Record<"postgres" | "redis" | "app", ServerCertificate>> {
  const ca = secrets.keep("internal-ca", given.internalCa);
  return {
    postgres: { bundle: secrets.keep("postgres-tls", given.postgresTls), ca },
    redis: { bundle: secrets.keep("redis-tls", given.redisTls), ca },
    app: { bundle: secrets.keep("app-tls", given.appTls), ca },
  };
}

/**
 * Pod annotation that changes with a certificate, for servers that read it at start only. A hash of a private key gives
 * nothing of it away. Empty when the store does not show the value: then whoever renews it restarts the pods.
 */
export function certificateAnnotation({
  bundle: { value },
}: ServerCertificate): pulumi.Output<Record<string, string>> {
  const annotation = (pem: string): Record<string, string> => ({
    "groundwork.dev/certificate-checksum": createHash("sha256").update(pem).digest("hex").slice(0, 16),
  });
  return value ? pulumi.unsecret(value.apply(annotation)) : pulumi.output<Record<string, string>>({});
}

/** The public part of a bundle: its certificates without the key. */
export function certificatesOf(pem: string): string {
  return (pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? []).join("\n") + "\n";
}

/** The other part: the key without the certificates. */
export function privateKeyOf(pem: string): string {
  return pem.slice(pem.search(/-----BEGIN (EC |RSA )?PRIVATE KEY-----/));
}
