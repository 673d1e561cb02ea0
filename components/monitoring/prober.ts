import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { isOwn } from "../appContainer.ts";
import type { StackValues } from "../configSchema.ts";
import { allowOneEviction } from "../disruption.ts";
import { checksumAnnotation, manifestFiles } from "../manifests.ts";
import { scrapedPods } from "../metricsService.ts";
import { postgresName } from "../patroni.ts";
import {
  labels,
  resources,
  restrictedContainer,
  restrictedPod,
  secretsPath,
  selector,
  serviceAccount,
  serviceHost,
  spread,
} from "../podDefaults.ts";
import { secretsVolume, type SecretStore, type StoredSecret } from "../secrets/secretStore.ts";
import type { CheckedServer, Endpoint, MetricsTarget, Namespaces, Resources, Share } from "../types.ts";
import type { ProbedEdge } from "./blackbox.ts";

/** A server inside the cluster whose certificate a person renews. */
export interface InternalServer extends Endpoint {
  /** Name of its certificate in the store of secrets. */
  readonly certificate: string;
  /** Name that it must prove. */
  readonly name: pulumi.Input<string>;
  /** What it is asked for TLS in; absent: it speaks nothing else. */
  readonly protocol?: "postgres";
}

export interface ProberSettings {
  /** Image with Python 3.11 or newer on its PATH as `python3`. */
  readonly image: pulumi.Input<string>;
  /** Password of the app's user `probe`; absent where the app has none, and then nobody signs in. */
  readonly password?: StoredSecret | undefined;
  /** Time from one sign-in to the next, seconds; the edge must allow one address that many. */
  readonly intervalSeconds: number;
  /** CPU and memory of each pod; default 10 thousandths of a core and 24 MiB. */
  readonly resources?: Resources;
}

export interface ProberArgs extends ProberSettings {
  /** Namespace to run in. */
  readonly namespace: pulumi.Output<string>;
  /** Pods; each signs in by itself. */
  readonly replicas: number;
  readonly edge: ProbedEdge;
  /** Whose certificates are looked at. */
  readonly servers: readonly InternalServer[];
  /** The authority of all of them. */
  readonly ca: StoredSecret;
  /** Mounts the password; one that has a `url` is watched. */
  readonly secrets: SecretStore;
}

const name = "prober";
const port = 9470;
const filesPath = "/etc/groundwork/prober";

/**
 * A user of our own: signs in through the edge, reads and signs out, and says whether that worked. Where the other is a server
 * inside the cluster, says when its certificate ends; and where secrets are in a vault, whether it answers.
 */
export class Prober extends pulumi.ComponentResource {
  readonly metrics: MetricsTarget;

  constructor(resourceName: string, args: ProberArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:monitoring:Prober", resourceName, {}, opts);
    const { namespace, edge } = args;
    const child = { parent: this };
    const metadata = { name, namespace, labels: labels(name, "probe") };
    const files = pulumi.output(edge.caPem).apply((authorities): Record<string, string> => ({
      ...manifestFiles("prober"),
      ...(authorities !== undefined && { "ca.pem": authorities }),
    }));
    const config = new k8s.core.v1.ConfigMap(name, { metadata, data: files }, child);
    const secrets = args.secrets.mount(name, {
      namespace,
      files: { ...(args.password && { "probe-password": args.password }), "internal-ca.crt": args.ca },
    });
    const health = { httpGet: { path: "/health", port: "metrics" }, timeoutSeconds: 3 };
    const variables: Record<string, pulumi.Input<string>> = {
      PROBE_ADDRESS: pulumi.interpolate`${edge.endpoint.host}:${edge.endpoint.port}`,
      PROBE_HOST: edge.host,
      PROBE_INTERVAL_SECONDS: String(args.intervalSeconds),
      ...(args.password && { PROBE_PASSWORD_FILE: `${secretsPath}/probe-password` }),
      INTERNAL_SERVERS: pulumi.jsonStringify(args.servers),
      INTERNAL_CA_FILE: `${secretsPath}/internal-ca.crt`,
      ...(args.secrets.url && { VAULT_URL: args.secrets.url }),
      METRICS_PORT: String(port),
      PYTHONDONTWRITEBYTECODE: "1",
      ...(edge.caPem && { PROBE_CA_FILE: `${filesPath}/ca.pem` }),
    };
    new k8s.apps.v1.Deployment(
      name,
      {
        metadata,
        spec: {
          replicas: args.replicas,
          progressDeadlineSeconds: 120,
          selector: { matchLabels: selector(name) },
          template: {
            metadata: { labels: metadata.labels, annotations: files.apply(checksumAnnotation) },
            spec: {
              ...restrictedPod,
              serviceAccountName: serviceAccount(this, name, namespace),
              topologySpreadConstraints: spread(name),
              containers: [
                {
                  ...restrictedContainer,
                  name,
                  image: args.image,
                  command: ["python3", `${filesPath}/prober.py`],
                  env: Object.entries(variables).map(([variable, value]) => ({ name: variable, value })),
                  ports: [{ name: "metrics", containerPort: port }],
                  resources: resources(args.resources ?? { cpuMillis: 10, memoryMiB: 24 }),
                  startupProbe: { ...health, periodSeconds: 1, failureThreshold: 30 },
                  readinessProbe: { ...health, periodSeconds: 10 },
                  livenessProbe: { ...health, periodSeconds: 20, failureThreshold: 6 },
                  volumeMounts: [
                    { name: "program", mountPath: filesPath, readOnly: true },
                    { name: secretsVolume, mountPath: secretsPath, readOnly: true },
                  ],
                },
              ],
              volumes: [{ name: "program", configMap: { name: config.metadata.name } }, secrets],
            },
          },
        },
      },
      { ...child, customTimeouts: { create: "3m", update: "3m" } },
    );
    allowOneEviction(this, metadata);
    this.metrics = scrapedPods(this, metadata, { port, pods: args.replicas });
    this.registerOutputs({});
  }
}

/** The prober of a stack; only this repository's app has a user that it can sign in as. */
export function proberSettings(
  { app, edge }: Pick<StackValues, "app" | "edge">,
  secrets: SecretStore,
  image: pulumi.Input<string>,
): ProberSettings {
  // Not more often than the edge lets one address sign in.
  const intervalSeconds = Math.max(15, Math.ceil(60 / edge.limits.signInPerMinute) + 1);
  return {
    image,
    intervalSeconds,
    ...(isOwn(app.container) && { password: secrets.generate("probe-password") }),
  };
}

/** Those of a stack; Azure renews its own certificates, and whoever runs an existing Postgres that one's. */
export function internalServers(
  { postgres, redis, azure }: Pick<StackValues, "postgres" | "redis" | "azure">,
  { data }: Pick<Namespaces, "data">,
  { tls, shares: [share] }: { readonly tls: CheckedServer | undefined; readonly shares: readonly Share[] },
): InternalServer[] {
  // By the name alone: who looks need not wait for them.
  const at = (service: string, port: number) => {
    const host = serviceHost(service, data);
    return { host, port, name: host };
  };
  return [
    ...(postgres.kind === "cluster"
      ? [{ certificate: "postgres-tls", ...at(postgresName, 5432), protocol: "postgres" as const }]
      : []),
    ...(redis.kind === "cluster" ? ["redis-queue", "redis-cache"] : []).map((service) => ({
      certificate: "redis-tls",
      ...at(service, 6379),
    })),
    ...(azure ? [] : [{ certificate: "azurite-tls", ...at("azurite", 10000) }]),
    ...(tls && share ? [{ certificate: "app-tls", host: share.host, port: share.port, name: tls.name }] : []),
  ];
}
