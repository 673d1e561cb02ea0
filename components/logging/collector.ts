import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { allowOneEviction } from "../disruption.ts";
import { checksumAnnotation, manifestFiles } from "../manifests.ts";
import { scrapedPods } from "../metricsService.ts";
import {
  labels,
  resources,
  restrictedContainer,
  restrictedPod,
  scratch,
  selector,
  serviceHost,
  spread,
} from "../podDefaults.ts";
import type { Endpoint, MetricsTarget, Resources } from "../types.ts";

interface CollectorArgs {
  /** Namespace to run in. */
  readonly namespace: pulumi.Output<string>;
  /** Image with the OpenTelemetry Collector at `/otelcol-contrib`. */
  readonly image: pulumi.Input<string>;
  /** CPU and memory of each pod. */
  readonly resources: Resources;
  /** Store that it writes to. */
  readonly store: Endpoint;
}

export interface LogAgentArgs extends CollectorArgs {
  /** Directory of each node that holds its pods' logs. */
  readonly podLogs: string;
}

const filesPath = "/etc/groundwork/logging";
const metricsPort = 8888;
const healthPort = 13_133;
const tracesPort = 4318;
const judgedPort = 4317;

/** The pod of either collector: `file` of `k8s-manifests/logging` is its configuration. */
function collectorPod(
  name: string,
  args: CollectorArgs,
  config: k8s.core.v1.ConfigMap,
  more: {
    readonly file: string;
    readonly variables?: Record<string, pulumi.Input<string>>;
    readonly ports?: k8s.types.input.core.v1.ContainerPort[];
    readonly mounts?: k8s.types.input.core.v1.VolumeMount[];
    readonly volumes?: k8s.types.input.core.v1.Volume[];
  },
): k8s.types.input.core.v1.PodSpec {
  const { memoryMiB } = args.resources;
  const probe = { httpGet: { path: "/", port: "health" }, timeoutSeconds: 5 };
  const variables: Record<string, pulumi.Input<string>> = {
    STORE_URL: pulumi.interpolate`http://${args.store.host}:${args.store.port}`,
    // Two steps before the kernel kills it: Go collects garbage, then nothing more is taken in.
    GOMEMLIMIT: `${Math.floor(memoryMiB * 0.8)}MiB`,
    MEMORY_LIMIT_MIB: String(Math.floor(memoryMiB * 0.9)),
    ...more.variables,
  };
  return {
    ...restrictedPod,
    terminationGracePeriodSeconds: 30,
    containers: [
      {
        ...restrictedContainer,
        name,
        image: args.image,
        command: ["/otelcol-contrib", `--config=${filesPath}/${more.file}`],
        env: Object.entries(variables).map(([key, value]) => ({ name: key, value })),
        ports: [
          { name: "metrics", containerPort: metricsPort },
          { name: "health", containerPort: healthPort },
          ...(more.ports ?? []),
        ],
        resources: resources(args.resources),
        startupProbe: { ...probe, periodSeconds: 1, failureThreshold: 60 },
        readinessProbe: { ...probe, periodSeconds: 10 },
        livenessProbe: { ...probe, periodSeconds: 20, failureThreshold: 6 },
        volumeMounts: [{ name: "config", mountPath: filesPath, readOnly: true }, ...(more.mounts ?? [])],
      },
    ],
    volumes: [{ name: "config", configMap: { name: config.metadata.name } }, ...(more.volumes ?? [])],
  };
}

/**
 * Reads what every pod of its node writes, and sends it on. It sees the node's log directory, read-only, and nothing else of
 * the node: an unprivileged user whose group may read log files.
 */
export class LogAgent extends pulumi.ComponentResource {
  readonly metrics: MetricsTarget;

  constructor(resourceName: string, args: LogAgentArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:logging:LogAgent", resourceName, {}, opts);
    const name = "log-agent";
    const { namespace } = args;
    const child = { parent: this };
    const metadata = { name, namespace, labels: labels(name, "collector") };
    const file = "agent.yaml";
    const files = { [file]: manifestFiles("logging")[file] ?? "" };
    const config = new k8s.core.v1.ConfigMap(name, { metadata, data: files }, child);
    // How far each file was read, and the queue; twice what agent.yaml lets the queue take, for compaction.
    const state = scratch("state", "/var/lib/otelcol", 1024);
    const pod = collectorPod(name, args, config, {
      file,
      mounts: [{ name: "pod-logs", mountPath: "/var/log/pods", readOnly: true }, state.mount],
      volumes: [{ name: "pod-logs", hostPath: { path: args.podLogs, type: "Directory" } }, state.volume],
    });
    new k8s.apps.v1.DaemonSet(
      name,
      {
        metadata,
        spec: {
          selector: { matchLabels: selector(name) },
          template: {
            metadata: { labels: metadata.labels, annotations: checksumAnnotation(files) },
            spec: {
              ...pod,
              // Log files belong to root and its group, and only these two may read them.
              securityContext: { ...restrictedPod.securityContext, runAsGroup: 0 },
              tolerations: [{ operator: "Exists" }],
            },
          },
        },
      },
      { ...child, customTimeouts: { create: "4m", update: "4m" } },
    );
    this.metrics = scrapedPods(this, metadata, { port: metricsPort });
    this.registerOutputs({});
  }
}

interface TraceGatewayArgs extends CollectorArgs {
  /** Pods. */
  readonly replicas: number;
}

/**
 * Holds the spans of each trace until it can tell whether the trace is worth keeping. Every pod takes spans from everybody,
 * and hands them to the one that judges their trace.
 */
export class TraceGateway extends pulumi.ComponentResource {
  /** Where processes send their spans: OTLP over HTTP. */
  readonly tracesUrl: pulumi.Output<string>;
  readonly metrics: MetricsTarget;

  constructor(resourceName: string, args: TraceGatewayArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:logging:TraceGateway", resourceName, {}, opts);
    const name = "trace-gateway";
    const { namespace } = args;
    const child = { parent: this };
    const metadata = { name, namespace, labels: labels(name, "collector") };
    const file = "gateway.yaml";
    const files = { [file]: manifestFiles("logging")[file] ?? "" };
    const config = new k8s.core.v1.ConfigMap(name, { metadata, data: files }, child);
    const service = new k8s.core.v1.Service(
      name,
      {
        metadata,
        spec: {
          clusterIP: "None",
          selector: selector(name),
          ports: [
            { name: "otlp", port: tracesPort, targetPort: "otlp" },
            { name: "judged", port: judgedPort, targetPort: "judged" },
            { name: "metrics", port: metricsPort, targetPort: "metrics" },
          ],
        },
      },
      child,
    );
    const host = serviceHost(service.metadata.name, namespace);
    const pod = collectorPod(name, args, config, {
      file,
      variables: { PEERS: host },
      ports: [
        { name: "otlp", containerPort: tracesPort },
        { name: "judged", containerPort: judgedPort },
      ],
    });
    new k8s.apps.v1.Deployment(
      name,
      {
        metadata,
        spec: {
          replicas: args.replicas,
          progressDeadlineSeconds: 120,
          selector: { matchLabels: selector(name) },
          template: {
            metadata: { labels: metadata.labels, annotations: checksumAnnotation(files) },
            spec: { ...pod, topologySpreadConstraints: spread(name) },
          },
        },
      },
      { ...child, customTimeouts: { create: "4m", update: "4m" } },
    );
    if (args.replicas > 1) allowOneEviction(this, metadata);
    this.tracesUrl = pulumi.interpolate`http://${host}:${tracesPort}/v1/traces`;
    this.metrics = { job: name, host, port: metricsPort, pods: args.replicas };
    this.registerOutputs({ tracesUrl: this.tracesUrl });
  }
}
