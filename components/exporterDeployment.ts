import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";

import { scrapedPods } from "./metricsService.ts";
import { labels, restrictedPod, selector, serviceAccount } from "./podDefaults.ts";
import type { MetricsTarget } from "./types.ts";

export interface ExporterPods {
  /** Name of the workload and of its service account. */
  readonly name: string;
  /** Prometheus job name. */
  readonly job: string;
  readonly namespace: pulumi.Output<string>;
  /** The exporter, its one port named `metrics`. */
  readonly container: k8s.types.input.core.v1.Container & {
    readonly ports: readonly { readonly containerPort: number }[];
  };
  /** What it mounts. */
  readonly volumes: k8s.types.input.core.v1.Volume[];
}

/** Runs an exporter in a pod of its own, for a server that is somewhere else. */
export function exporterDeployment(parent: pulumi.Resource, pods: ExporterPods): MetricsTarget {
  const { name, job, namespace, container, volumes } = pods;
  const metadata = { name, namespace, labels: labels(name, "exporter") };
  const port = container.ports[0]?.containerPort ?? 0;
  new k8s.apps.v1.Deployment(
    name,
    {
      metadata,
      spec: {
        replicas: 1,
        progressDeadlineSeconds: 120,
        selector: { matchLabels: selector(name) },
        template: {
          metadata: { labels: metadata.labels },
          spec: {
            ...restrictedPod,
            serviceAccountName: serviceAccount(parent, name, namespace),
            containers: [{ ...container, readinessProbe: { tcpSocket: { port: "metrics" } } }],
            volumes,
          },
        },
      },
    },
    { parent, customTimeouts: { create: "4m", update: "4m" } },
  );
  return scrapedPods(parent, metadata, { job, port });
}
