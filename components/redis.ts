import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import type { ServerCertificate } from "./certificates.ts";
import { claimTemplates, growClaims, templateAsMade } from "./claims.ts";
import { allowOneEviction } from "./disruption.ts";
import { redisExporter, redisExporterPort } from "./exporters.ts";
import { checksumAnnotation, manifestFiles } from "./manifests.ts";
import {
  apart,
  labels,
  resources,
  restrictedContainer,
  restrictedPod,
  scratch,
  secretsPath,
  selector,
  serviceAccount,
  serviceHost,
} from "./podDefaults.ts";
import { passwordFiles, rotatedPassword, type Password } from "./passwords.ts";
import { secretsVolume, type SecretStore, type StoredSecret } from "./secrets/secretStore.ts";
import { sentinel, sentinelPort } from "./sentinel.ts";
import type { Endpoint, MetricsTarget, Resources } from "./types.ts";

export interface RedisArgs {
  /** Namespace to run in. */
  readonly namespace: pulumi.Output<string>;
  /** Image with `redis-server` and `redis-cli`. */
  readonly image: pulumi.Input<string>;
  /** Image with the exporter (`images/exporters`). */
  readonly exporterImage: pulumi.Input<string>;
  /** `queue` keeps every job on disk and refuses writes when full; `cache` keeps nothing and evicts. */
  readonly purpose: "queue" | "cache";
  /** Servers; with three or more, Sentinel moves the primary. Default 1. */
  readonly members?: number;
  /** Refuses to start two members on one node, rather than only avoiding it. */
  readonly separateNodes: boolean;
  /** Volume of the queue, GiB; a cache has none. */
  readonly storageGiB?: number;
  /** CPU and memory; three quarters of the memory hold data, the rest is overhead and the append-only rewrite. */
  readonly resources: Resources;
  /** Keeps the volume when the stack is destroyed. */
  readonly retainData: boolean;
  /** Names: `redis-queue.data…`, `redis-cache.data…` and `localhost`. */
  readonly certificate: ServerCertificate;
  /** Keeps the passwords. */
  readonly secrets: SecretStore;
  /** Generations of the app's password that are valid, the one that clients use first; default the first. */
  readonly passwords?: readonly number[];
}

/**
 * Redis, as a queue that loses nothing it was given or as a cache that may be lost. Several members elect their primary
 * themselves; clients ask the Sentinels for it, as the Service leads to any of them.
 */
export class Redis extends pulumi.ComponentResource {
  readonly endpoint: Endpoint;
  /** Signs in as `app`. */
  readonly user = "app";
  readonly password: Password;
  /** Authority that signed the certificate; there is no unencrypted port. */
  readonly ca: StoredSecret;
  /** Where the Sentinels answer, one for each member, where there are several; they name the primary. */
  readonly sentinels: readonly Endpoint[];
  readonly metrics: MetricsTarget;

  constructor(resourceName: string, args: RedisArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:data:Redis", resourceName, {}, opts);
    const { namespace, purpose, members: count = 1 } = args;
    const name = `redis-${purpose}`;
    const metadata = { name, namespace, labels: labels(name, purpose) };
    const child = { parent: this };

    this.ca = args.certificate.ca;
    this.password = rotatedPassword(
      (kept) => args.secrets.generate(kept),
      `${name}-password`,
      args.passwords,
    );
    const volume = args.secrets.mount(name, {
      namespace,
      files: {
        "tls.pem": args.certificate.bundle,
        "ca.crt": args.certificate.ca,
        ...passwordFiles("app-password", this.password),
        ...(count > 1 && {
          "replica-password": args.secrets.generate(`${name}-replica-password`),
          "sentinel-password": args.secrets.generate(`${name}-sentinel-password`),
        }),
        "monitoring-password": args.secrets.generate(`${name}-monitoring-password`),
      },
    });
    const files = manifestFiles("redis");
    const config = new k8s.core.v1.ConfigMap(name, { metadata, data: files }, child);
    const service = new k8s.core.v1.Service(
      name,
      { metadata, spec: { selector: selector(name), ports: [{ name: "redis", port: 6379 }] } },
      child,
    );
    const members = new k8s.core.v1.Service(
      `${name}-members`,
      {
        metadata: { ...metadata, name: `${name}-members` },
        spec: {
          clusterIP: "None",
          // They must find each other before they can be ready.
          publishNotReadyAddresses: true,
          selector: selector(name),
          ports: [{ name: "metrics", port: redisExporterPort }],
        },
      },
      child,
    );
    const configMount = { name: "config", mountPath: "/etc/groundwork/redis", readOnly: true };
    const annotations = checksumAnnotation(files);
    const runtime = scratch("run", "/run/redis", 1);
    const data = scratch("data", "/var/lib/redis");
    const ping = {
      exec: { command: ["/bin/sh", "/etc/groundwork/redis/ping.sh", "6379", "monitoring"] },
      timeoutSeconds: 5,
    };
    const membersHost = serviceHost(members.metadata.name, namespace);
    const env = [
      { name: "POD_NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
      { name: "MEMBERS", value: String(count) },
      { name: "MEMBERS_DOMAIN", value: membersHost },
    ];
    const volumeMounts = [
      { name: secretsVolume, mountPath: secretsPath, readOnly: true },
      configMount,
      runtime.mount,
      data.mount,
    ];
    const maxMemoryMiB = Math.floor((args.resources.memoryMiB * 3) / 4);

    const set = new k8s.apps.v1.StatefulSet(
      name,
      {
        metadata,
        spec: {
          serviceName: members.metadata.name,
          replicas: count,
          podManagementPolicy: "Parallel",
          selector: { matchLabels: selector(name) },
          persistentVolumeClaimRetentionPolicy: {
            whenDeleted: args.retainData ? "Retain" : "Delete",
            whenScaled: "Retain",
          },
          template: {
            metadata: { labels: metadata.labels, annotations },
            spec: {
              ...restrictedPod,
              affinity: apart(name, args.separateNodes),
              serviceAccountName: serviceAccount(this, name, namespace),
              containers: [
                {
                  ...restrictedContainer,
                  name: "redis",
                  image: args.image,
                  command: ["/bin/sh", "/etc/groundwork/redis/start.sh", purpose, String(maxMemoryMiB)],
                  env,
                  ports: [{ name: "redis", containerPort: 6379 }],
                  resources: resources(args.resources),
                  startupProbe: { ...ping, periodSeconds: 2, failureThreshold: 60 },
                  readinessProbe: { ...ping, periodSeconds: 10 },
                  livenessProbe: { ...ping, periodSeconds: 20, failureThreshold: 5 },
                  volumeMounts,
                },
                ...(count > 1 ? [sentinel(args.image, env, volumeMounts)] : []),
                redisExporter(args.exporterImage, [configMount, runtime.mount]),
              ],
              volumes: [
                volume,
                { name: "config", configMap: { name: config.metadata.name } },
                { ...runtime.volume, emptyDir: { medium: "Memory", sizeLimit: "1Mi" } },
                ...(args.storageGiB === undefined ? [data.volume] : []),
              ],
            },
          },
          ...(args.storageGiB !== undefined && {
            volumeClaimTemplates: claimTemplates(name, args.storageGiB),
          }),
        },
      },
      { ...child, ...templateAsMade, customTimeouts: { create: "5m", update: "5m" } },
    );
    if (args.storageGiB !== undefined)
      growClaims(set, { workload: name, namespace, members: count, storageGiB: args.storageGiB }, this);

    this.endpoint = {
      host: serviceHost(service.metadata.name, namespace),
      port: 6379,
    };
    if (count > 1) allowOneEviction(this, metadata);
    this.sentinels = Array.from({ length: count > 1 ? count : 0 }, (_, number) => ({
      host: pulumi.interpolate`${name}-${number}.${membersHost}`,
      port: sentinelPort,
    }));
    this.metrics = {
      job: name,
      host: membersHost,
      port: redisExporterPort,
      pods: count,
    };
    this.registerOutputs({ endpoint: this.endpoint });
  }
}
