import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";

import { labels, secretsPath } from "./podDefaults.ts";
import { secretsVolume, type SecretStore, type StoredSecret } from "./secrets/secretStore.ts";
import type { CheckedServer } from "./types.ts";

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
  /** What the upstreams are checked by; absent: they are plain HTTP. */
  readonly upstreamTls?: CheckedServer | undefined;
}

/** What the edge's pods mount, and what must be there before they do. */
export interface EdgeCertificate {
  readonly volumes: k8s.types.input.core.v1.Volume[];
  readonly mounts: k8s.types.input.core.v1.VolumeMount[];
  /** PEM of the edge's own certificate, then its key. */
  readonly certificateFile: string;
  /** By which name and against which authority's PEM the upstreams are checked. */
  readonly checkedBy: { readonly name: pulumi.Input<string>; readonly caFile: string } | undefined;
  readonly dependsOn: pulumi.Resource[];
}

const name = "edge";
const managedName = "edge-certificate";
const managedVolume = { name: "certificate", mountPath: "/run/secrets/certificate", readOnly: true };
const authority = "app-ca.crt";

/** The files of the edge. Whatever their source, each changes in place when it is renewed, and nginx reloads it. */
export function edgeCertificate(parent: pulumi.Resource, args: EdgeCertificateArgs): EdgeCertificate {
  const { namespace, hosts, secrets, upstreamTls, certificate = { from: "given" } } = args;
  const trusted: Record<string, StoredSecret> = upstreamTls ? { [authority]: upstreamTls.ca } : {};
  const checkedBy = upstreamTls && { name: upstreamTls.name, caFile: `${secretsPath}/${authority}` };
  const mounted = (files: Record<string, StoredSecret>) =>
    Object.keys(files).length === 0
      ? { volumes: [], mounts: [] }
      : {
          volumes: [secrets.mount(name, { namespace, files })],
          mounts: [{ name: secretsVolume, mountPath: secretsPath, readOnly: true }],
        };
  if (certificate.from !== "certManager") {
    const bundle = certificate.from === "given" ? args.tlsBundle : secrets.keep(certificate.name);
    const files = mounted({ "tls.pem": bundle, ...trusted });
    return { ...files, certificateFile: `${secretsPath}/tls.pem`, checkedBy, dependsOn: [] };
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
  const secret = { secretName: managedName, items, defaultMode: 0o440 };
  const { volumes, mounts } = mounted(trusted);
  return {
    volumes: [{ name: managedVolume.name, secret }, ...volumes],
    mounts: [managedVolume, ...mounts],
    certificateFile: `${managedVolume.mountPath}/tls.pem`,
    checkedBy,
    dependsOn: [made],
  };
}
