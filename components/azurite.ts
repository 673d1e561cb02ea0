import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import type { BlobStore } from "./blobStore.ts";
import { certificatesOf, type ServerCertificate } from "./certificates.ts";
import { claimTemplates, growClaims, templateAsMade } from "./claims.ts";
import { checksumAnnotation, manifestFiles } from "./manifests.ts";
import {
  labels,
  resources,
  restrictedContainer,
  restrictedPod,
  scratch,
  secretsPath,
  selector,
  serviceHost,
} from "./podDefaults.ts";
import { secretsVolume, type SecretStore } from "./secrets/secretStore.ts";
import type { Resources } from "./types.ts";

export interface AzuriteArgs {
  /** Namespace to run in. */
  readonly namespace: pulumi.Output<string>;
  /** Image with `azurite-blob` on its PATH. */
  readonly image: pulumi.Input<string>;
  /** Volume for the blobs, GiB; default 1. */
  readonly storageGiB?: number;
  /** CPU and memory; default 192 MiB. */
  readonly resources?: Resources;
  /** Name: `azurite.data.svc.cluster.local`. */
  readonly certificate: ServerCertificate;
  /** Makes and keeps the account's key; must be a store whose values the program sees. */
  readonly secrets: SecretStore;
}

const name = "azurite";
const account = "groundwork";
const port = 10000;

/** Microsoft's emulator of Azure Blob Storage, so that development has a real place for its backups. Never for production. */
export class Azurite extends pulumi.ComponentResource {
  /** The emulator's container; the first backup creates it. */
  readonly store: BlobStore;

  constructor(resourceName: string, args: AzuriteArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:data:Azurite", resourceName, {}, opts);
    const { namespace, certificate, secrets, storageGiB = 1 } = args;
    const metadata = { name, namespace, labels: labels(name, "blob-store") };
    const child = { parent: this };

    // Azure's keys are base64; letters and digits in a multiple of four are.
    const { value: key } = secrets.generate("azurite-account-key", 64);
    const { value: chainAndKey } = certificate.bundle;
    if (!key || !chainAndKey)
      throw new Error("Azurite needs a secret store that shows its values; set secrets.store: kubernetes");
    const volume = secrets.mount(name, {
      namespace,
      files: {
        "azurite-accounts": secrets.keep("azurite-accounts", pulumi.interpolate`${account}:${key}`),
        "tls.pem": certificate.bundle,
      },
    });
    const files = manifestFiles("azurite");
    // It reads its certificate when it starts, and only then.
    const annotations = pulumi
      .unsecret(chainAndKey.apply(certificatesOf))
      .apply((chain) => checksumAnnotation({ ...files, chain }));
    const config = new k8s.core.v1.ConfigMap(name, { metadata, data: files }, child);
    const service = new k8s.core.v1.Service(
      name,
      { metadata, spec: { selector: selector(name), ports: [{ name: "blob", port }] } },
      child,
    );
    const temporary = scratch("tmp", "/tmp", 16);
    const open = { tcpSocket: { port: "blob" }, timeoutSeconds: 3 };

    const set = new k8s.apps.v1.StatefulSet(
      name,
      {
        metadata,
        spec: {
          serviceName: name,
          replicas: 1,
          selector: { matchLabels: selector(name) },
          persistentVolumeClaimRetentionPolicy: { whenDeleted: "Delete", whenScaled: "Retain" },
          template: {
            metadata: { labels: metadata.labels, annotations },
            spec: {
              ...restrictedPod,
              containers: [
                {
                  ...restrictedContainer,
                  name,
                  image: args.image,
                  command: ["/bin/sh", "/etc/groundwork/azurite/start.sh"],
                  ports: [{ name: "blob", containerPort: port }],
                  resources: resources(args.resources ?? { cpuMillis: 50, memoryMiB: 192 }),
                  startupProbe: { ...open, periodSeconds: 2, failureThreshold: 60 },
                  readinessProbe: { ...open, periodSeconds: 10 },
                  livenessProbe: { ...open, periodSeconds: 20, failureThreshold: 5 },
                  volumeMounts: [
                    { name: "data", mountPath: "/data" },
                    { name: "config", mountPath: "/etc/groundwork/azurite", readOnly: true },
                    { name: secretsVolume, mountPath: secretsPath, readOnly: true },
                    temporary.mount,
                  ],
                },
              ],
              volumes: [
                volume,
                { name: "config", configMap: { name: config.metadata.name } },
                temporary.volume,
              ],
            },
          },
          volumeClaimTemplates: claimTemplates(name, storageGiB),
        },
      },
      { ...child, ...templateAsMade, customTimeouts: { create: "5m", update: "5m" } },
    );
    growClaims(set, { workload: name, namespace, members: 1, storageGiB }, this);

    const host = serviceHost(service.metadata.name, namespace);
    const endpoint = pulumi.interpolate`https://${host}:${port}/${account}`;
    const connectionString = pulumi.interpolate`DefaultEndpointsProtocol=https;AccountName=${account};AccountKey=${key};BlobEndpoint=${endpoint};`;
    this.store = {
      endpoint,
      container: "backups",
      immutableDays: 0,
      access: {
        kind: "connectionString",
        secret: secrets.keep("azure-connection-string", connectionString),
        ca: certificate.ca,
      },
    };
    this.registerOutputs({ endpoint });
  }
}
