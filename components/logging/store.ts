import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { claimTemplates, growClaims, templateAsMade } from "../claims.ts";
import { checksumAnnotation, manifestFiles } from "../manifests.ts";
import {
  labels,
  resources,
  restrictedContainer,
  restrictedPod,
  scratch,
  selector,
  serviceHost,
} from "../podDefaults.ts";
import type { Endpoint, MetricsTarget, Resources } from "../types.ts";

/** How one of the programs that keep logs or traces is run. */
export interface StoreProgram {
  readonly name: "loki" | "jaeger";
  /** Role, for the label `component`. */
  readonly component: string;
  readonly command: readonly string[];
  /** Directory of its volume. */
  readonly dataPath: string;
  /** TCP ports by name. `read` is where it is asked, `write` where it is given, `metrics` where Prometheus looks. */
  readonly ports: { readonly read: number; readonly write: number; readonly metrics: number };
  /** Path that answers 200 when it can be used, and on which port. */
  readonly health: { readonly path: string; readonly port: number };
  /** What its file in `k8s-manifests/logging` leaves open. */
  readonly variables: Readonly<Record<string, string>>;
}

export interface TelemetryStoreArgs {
  /** Namespace to run in. */
  readonly namespace: pulumi.Output<string>;
  /** Image with the program in it. */
  readonly image: pulumi.Input<string>;
  /** CPU and memory of the pod. */
  readonly resources: Resources;
  /** Volume, GiB. */
  readonly storageGiB: number;
  /** Keeps the volume when the stack is destroyed. */
  readonly retainData: boolean;
}

const filesPath = "/etc/groundwork/logging";

/** Loki: what pods wrote, found by labels first and then by reading. */
export function lokiProgram(retentionDays: number): StoreProgram {
  const port = 3100;
  return {
    name: "loki",
    component: "logs",
    command: ["loki", `-config.file=${filesPath}/loki.yaml`, "-config.expand-env=true"],
    dataPath: "/var/lib/loki",
    ports: { read: port, write: port, metrics: port },
    health: { path: "/ready", port },
    variables: { LOG_RETENTION: `${retentionDays * 24}h` },
  };
}

/** Jaeger with its embedded store: traces by id, service and duration. */
export function jaegerProgram(retentionDays: number): StoreProgram {
  return {
    name: "jaeger",
    component: "traces",
    // Where the upstream image has it; that image sets no PATH.
    command: ["/cmd/jaeger/jaeger-linux", `--config=${filesPath}/jaeger.yaml`],
    dataPath: "/var/lib/jaeger",
    ports: { read: 16_686, write: 4_318, metrics: 8_888 },
    health: { path: "/status", port: 13_133 },
    variables: { TRACE_RETENTION: `${retentionDays * 24}h` },
  };
}

/** One pod with a volume. While it is away, those who write to it keep what they have. */
export class TelemetryStore extends pulumi.ComponentResource {
  /** Where it is asked. */
  readonly read: Endpoint;
  /** Where it is given logs or traces. */
  readonly write: Endpoint;
  readonly metrics: MetricsTarget;

  constructor(program: StoreProgram, args: TelemetryStoreArgs, opts?: pulumi.ComponentResourceOptions) {
    const { name, ports, health, dataPath } = program;
    super("groundwork:logging:TelemetryStore", name, {}, opts);
    const { namespace } = args;
    const child = { parent: this };
    const metadata = { name, namespace, labels: labels(name, program.component) };

    const file = `${name}.yaml`;
    const files = { [file]: manifestFiles("logging")[file] ?? "" };
    const config = new k8s.core.v1.ConfigMap(name, { metadata, data: files }, child);
    // One address with several uses has one name.
    const numbers = [...new Set([...Object.values(ports), health.port])];
    const portName = (port: number): string => (port === ports.read ? "http" : `http-${port}`);
    const service = new k8s.core.v1.Service(
      name,
      {
        metadata,
        spec: {
          clusterIP: "None",
          selector: selector(name),
          ports: numbers.map((port) => ({ name: portName(port), port, targetPort: portName(port) })),
        },
      },
      child,
    );
    const temporary = scratch("tmp", "/tmp");
    const environment: Record<string, string> = {
      ...program.variables,
      // Makes Go collect garbage before the kernel kills the process.
      GOMEMLIMIT: `${Math.floor(args.resources.memoryMiB * 0.9)}MiB`,
    };
    const probe = { httpGet: { path: health.path, port: portName(health.port) }, timeoutSeconds: 5 };
    const set = new k8s.apps.v1.StatefulSet(
      name,
      {
        metadata,
        spec: {
          serviceName: service.metadata.name,
          replicas: 1,
          selector: { matchLabels: selector(name) },
          persistentVolumeClaimRetentionPolicy: {
            whenDeleted: args.retainData ? "Retain" : "Delete",
            whenScaled: "Retain",
          },
          template: {
            metadata: {
              labels: metadata.labels,
              annotations: checksumAnnotation({ ...files, ...program.variables }),
            },
            spec: {
              ...restrictedPod,
              // Time to write what is in memory to disk.
              terminationGracePeriodSeconds: 60,
              containers: [
                {
                  ...restrictedContainer,
                  name,
                  image: args.image,
                  command: [...program.command],
                  env: Object.entries(environment).map(([key, value]) => ({ name: key, value })),
                  ports: numbers.map((port) => ({ name: portName(port), containerPort: port })),
                  resources: resources(args.resources),
                  startupProbe: { ...probe, periodSeconds: 2, failureThreshold: 150 },
                  readinessProbe: { ...probe, periodSeconds: 5 },
                  livenessProbe: { ...probe, periodSeconds: 20, failureThreshold: 6 },
                  volumeMounts: [
                    { name: "config", mountPath: filesPath, readOnly: true },
                    { name: "data", mountPath: dataPath },
                    temporary.mount,
                  ],
                },
              ],
              volumes: [{ name: "config", configMap: { name: config.metadata.name } }, temporary.volume],
            },
          },
          volumeClaimTemplates: claimTemplates(name, args.storageGiB),
        },
      },
      { ...child, ...templateAsMade, customTimeouts: { create: "5m", update: "5m" } },
    );
    growClaims(set, { workload: name, namespace, members: 1, storageGiB: args.storageGiB }, this);

    const host = serviceHost(service.metadata.name, namespace);
    this.read = { host, port: ports.read };
    this.write = { host, port: ports.write };
    this.metrics = { job: name, host, port: ports.metrics };
    this.registerOutputs({ read: this.read });
  }
}
