import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";

import { labels } from "./podDefaults";
import { secretsVolume, type SecretStore, type StoredSecret } from "./secrets/secretStore";

/** Who makes the edge's certificate and renews it. */
export type CertificateSource =
  | { /** Whoever gives `tlsBundle`. */ readonly from: "given" }
  | { readonly from: "keyVault"; /** Certificate of the vault, as PEM. */ readonly name: string }
  | {
      readonly from: "certManager";
      /** An issuer that the cluster has: for ACME, for an authority of one's own, for anything else that cert-manager knows. */
      readonly issuer: { readonly kind: "ClusterIssuer" | "Issuer"; readonly name: string };
    };

export interface EdgeCertificateArgs {
  readonly namespace: pulumi.Output<string>;
  /** Names that it must bear. */
  readonly hosts: readonly string[];
  /** Default: given. */
  readonly certificate?: CertificateSource;
  /** Certificate chain, then private key, as one PEM text; mounted when the source is `given`. */
  readonly tlsBundle: StoredSecret;
  readonly secrets: SecretStore;
}

const name = "edge";
const managedName = "edge-certificate";

/**
 * The volume that holds the certificate as `tls.pem`, and what must be there before pods mount it. Whatever the source, the
 * file changes in place when it is renewed, and nginx reloads it.
 */
export function edgeCertificate(
  parent: pulumi.Resource,
  args: EdgeCertificateArgs,
): { readonly volume: k8s.types.input.core.v1.Volume; readonly dependsOn: pulumi.Resource[] } {
  const { namespace, hosts, secrets, certificate = { from: "given" } } = args;
  if (certificate.from !== "certManager") {
    const bundle = certificate.from === "given" ? args.tlsBundle : secrets.keep(certificate.name);
    return { volume: secrets.mount(name, { namespace, files: { "tls.pem": bundle } }), dependsOn: [] };
  }
  const made = new k8s.apiextensions.CustomResource(
    managedName,
    {
      apiVersion: "cert-manager.io/v1",
      kind: "Certificate",
      metadata: {
        name: managedName,
        namespace,
        labels: labels(managedName, "certificate"),
        // Without it the pods would wait for a Secret that may never come, and say less about why.
        annotations: { "pulumi.com/waitFor": "condition=Ready" },
      },
      spec: {
        secretName: managedName,
        dnsNames: [...hosts],
        issuerRef: { group: "cert-manager.io", ...certificate.issuer },
        privateKey: { algorithm: "ECDSA", size: 256, rotationPolicy: "Always" },
        additionalOutputFormats: [{ type: "CombinedPEM" }],
      },
    },
    { parent, customTimeouts: { create: "10m", update: "10m" } },
  );
  const items = [{ key: "tls-combined.pem", path: "tls.pem" }];
  return {
    volume: { name: secretsVolume, secret: { secretName: managedName, items, defaultMode: 0o440 } },
    dependsOn: [made],
  };
}
