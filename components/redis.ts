import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { checksumAnnotation, manifestFiles } from "./manifests";
import {
  labels,
  resources,
  restrictedContainer,
  restrictedPod,
  scratch,
  secretsPath,
  selector,
  serviceAccount,
  serviceHost,
} from "./podDefaults";
import { secretsVolume, type SecretStore, type StoredSecret } from "./secrets/secretStore";
import type { Endpoint, Resources } from "./types";

export interface RedisArgs {
  /** Namespace to run in. */
  readonly namespace: pulumi.Output<string>;
  /** Image with `redis-server` and `redis-cli`. */
  readonly image: string;
  /** `queue` keeps every job on disk and refuses writes when full; `cache` keeps nothing and evicts. */
  readonly purpose: "queue" | "cache";
  /** Volume of the queue, GiB; a cache has none. */
  readonly storageGiB?: number;
  /** CPU and memory; three quarters of the memory hold data, the rest is overhead and the append-only rewrite. */
  readonly resources: Resources;
  /** Keeps the volume when the stack is destroyed. */
  readonly retainData: boolean;
  /** Keeps the password. */
  readonly secrets: SecretStore;
}

/** One Redis instance, as a queue that loses nothing it was given or as a cache that may be lost. */
export class Redis extends pulumi.ComponentResource {
  readonly endpoint: Endpoint;
  readonly password: StoredSecret;

  constructor(resourceName: string, args: RedisArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:data:Redis", resourceName, {}, opts);
    const { namespace, purpose } = args;
    const name = `redis-${purpose}`;
    const metadata = { name, namespace, labels: labels(name, purpose) };
    const child = { parent: this };

    this.password = args.secrets.generate(`${name}-password`);
    const volume = args.secrets.mount(name, { namespace, files: { password: this.password } });
    const files = manifestFiles("redis");
    const config = new k8s.core.v1.ConfigMap(name, { metadata, data: files }, child);
    const service = new k8s.core.v1.Service(
      name,
      { metadata, spec: { selector: selector(name), ports: [{ name: "redis", port: 6379 }] } },
      child,
    );
    const runtime = scratch("run", "/run/redis", 1);
    const data = scratch("data", "/var/lib/redis");
    const ping = { exec: { command: ["/bin/sh", "/etc/groundwork/redis/ping.sh"] }, timeoutSeconds: 5 };
    const maxMemoryMiB = Math.floor((args.resources.memoryMiB * 3) / 4);

    new k8s.apps.v1.StatefulSet(
      name,
      {
        metadata,
        spec: {
          serviceName: name,
          replicas: 1,
          selector: { matchLabels: selector(name) },
          persistentVolumeClaimRetentionPolicy: {
            whenDeleted: args.retainData ? "Retain" : "Delete",
            whenScaled: "Retain",
          },
          template: {
            metadata: { labels: metadata.labels, annotations: checksumAnnotation(files) },
            spec: {
              ...restrictedPod,
              serviceAccountName: serviceAccount(this, name, namespace),
              containers: [
                {
                  ...restrictedContainer,
                  name: "redis",
                  image: args.image,
                  command: ["/bin/sh", "/etc/groundwork/redis/start.sh", purpose, String(maxMemoryMiB)],
                  ports: [{ name: "redis", containerPort: 6379 }],
                  resources: resources(args.resources),
                  startupProbe: { ...ping, periodSeconds: 2, failureThreshold: 60 },
                  readinessProbe: { ...ping, periodSeconds: 10 },
                  livenessProbe: { ...ping, periodSeconds: 20, failureThreshold: 5 },
                  volumeMounts: [
                    { name: secretsVolume, mountPath: secretsPath, readOnly: true },
                    { name: "config", mountPath: "/etc/groundwork/redis", readOnly: true },
                    runtime.mount,
                    data.mount,
                  ],
                },
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
            volumeClaimTemplates: [
              {
                metadata: { name: "data", labels: selector(name) },
                spec: {
                  accessModes: ["ReadWriteOnce"],
                  resources: { requests: { storage: `${args.storageGiB}Gi` } },
                },
              },
            ],
          }),
        },
      },
      { ...child, customTimeouts: { create: "5m", update: "5m" } },
    );

    this.endpoint = {
      host: serviceHost(service.metadata.name, namespace),
      port: 6379,
    };
    this.registerOutputs({ endpoint: this.endpoint });
  }
}
