import { X509Certificate } from "node:crypto";
import { rootCertificates } from "node:tls";

import type { Provider } from "@pulumi/azure-native/provider.js";
import type * as pulumi from "@pulumi/pulumi";

import type { AzureNetwork } from "./network.ts";
import type { AzureObservability } from "./observability.ts";
import type { AzureScope } from "./scope.ts";

/** What a managed service of Azure needs of the platform around it. */
export interface ManagedHost extends AzureScope {
  readonly provider: Provider;
  readonly network: AzureNetwork;
  readonly logs: AzureObservability;
  /** A name that nobody else in the world has, for the service that goes by `part` here. */
  readonly uniqueName: (part: string) => pulumi.Output<string>;
}

/** Authorities that the certificates of Azure's data services lead up to; they change intermediates, and rarely these. */
const authorities = ["DigiCert Global Root G2", "Microsoft RSA Root Certificate Authority 2017"];

/**
 * PEM of those authorities, from Node's own list: clients trust them, and nobody else who is trusted on the web.
 * @throws when this Node does not know one of them
 */
export function azureAuthorities(): string {
  const byName = new Map(
    rootCertificates.map((pem) => [/^CN=(.*)$/m.exec(new X509Certificate(pem).subject)?.[1] ?? "", pem]),
  );
  const found = authorities.map((name) => {
    const pem = byName.get(name);
    if (pem === undefined) throw new Error(`this Node has no root certificate "${name}"; use a newer one`);
    return pem;
  });
  return `${found.join("\n")}\n`;
}
