import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { scrapedPods } from "../metricsService.ts";
import {
  labels,
  resources,
  restrictedContainer,
  restrictedPod,
  selector,
  serviceAccount,
} from "../podDefaults.ts";
import type { MetricsTarget, Resources } from "../types.ts";

export interface NodeExporterArgs {
  /** Namespace to run in. */
  readonly namespace: pulumi.Output<string>;
  /** Image with node_exporter 1.9 or newer on its PATH as `prometheus-node-exporter`. */
  readonly image: pulumi.Input<string>;
  /** CPU and memory of each pod. */
  readonly resources: Resources;
}

const name = "node-exporter";
const port = 9100;
/** What a container sees of its node by itself. Network and mounts are the pod's own there, and left out. */
const collectors = ["cpu", "diskstats", "loadavg", "meminfo", "pressure", "stat", "vmstat"];

/**
 * Reads each node's processors, memory, load and disks from the kernel's own files, which show the node in any container: so it
 * is a restricted pod like all others and mounts nothing of the node. How full disks are, the kubelet says.
 */
export class NodeExporter extends pulumi.ComponentResource {
  readonly metrics: MetricsTarget;

  constructor(resourceName: string, args: NodeExporterArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:monitoring:NodeExporter", resourceName, {}, opts);
    const { namespace } = args;
    const child = { parent: this };
    const metadata = { name, namespace, labels: labels(name, "metrics") };
    const health = { httpGet: { path: "/", port: "metrics" }, timeoutSeconds: 5 };
    new k8s.apps.v1.DaemonSet(
      name,
      {
        metadata,
        spec: {
          selector: { matchLabels: selector(name) },
          template: {
            metadata: { labels: metadata.labels },
            spec: {
              ...restrictedPod,
              serviceAccountName: serviceAccount(this, name, namespace),
              // Also on nodes that take no other pods.
              tolerations: [{ operator: "Exists" }],
              containers: [
                {
                  ...restrictedContainer,
                  name,
                  image: args.image,
                  command: [
                    "prometheus-node-exporter",
                    `--web.listen-address=:${port}`,
                    "--collector.disable-defaults",
                    ...collectors.map((collector) => `--collector.${collector}`),
                  ],
                  ports: [{ name: "metrics", containerPort: port }],
                  resources: resources(args.resources),
                  startupProbe: { ...health, periodSeconds: 1, failureThreshold: 30 },
                  readinessProbe: { ...health, periodSeconds: 10 },
                  livenessProbe: { ...health, periodSeconds: 20, failureThreshold: 6 },
                },
              ],
            },
          },
        },
      },
      { ...child, customTimeouts: { create: "4m", update: "4m" } },
    );
    this.metrics = scrapedPods(this, metadata, { job: "node", port });
    this.registerOutputs({});
  }
}
