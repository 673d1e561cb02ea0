import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";

import { selector, serviceHost } from "./podDefaults.ts";
import type { MetricsTarget, WorkloadMetadata } from "./types.ts";

interface ScrapedPods {
  /** What selects the pods; default the Service's own name. */
  readonly workload?: string;
  /** Prometheus job name; default the workload's. */
  readonly job?: string;
  /** TCP port of each pod's metrics listener. */
  readonly port: number;
  /** As in `MetricsTarget`. */
  readonly pods?: number;
}

/** Lets Prometheus find every pod of a workload, and not a random one: the name of a headless Service has all their addresses. */
export function scrapedPods(
  parent: pulumi.Resource,
  metadata: WorkloadMetadata & { readonly annotations?: Record<string, string> },
  { port, workload = metadata.name, job = workload, pods }: ScrapedPods,
): MetricsTarget {
  const { name, namespace } = metadata;
  new k8s.core.v1.Service(
    name,
    {
      metadata,
      spec: { clusterIP: "None", selector: selector(workload), ports: [{ name: "metrics", port }] },
    },
    { parent },
  );
  // By the name alone: what is scraped need not be there before Prometheus is.
  return { job, host: serviceHost(name, namespace), port, ...(pods !== undefined && { pods }) };
}
