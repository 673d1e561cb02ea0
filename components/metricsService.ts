import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";

import { selector, serviceHost } from "./podDefaults.ts";
import type { MetricsTarget, WorkloadMetadata } from "./types.ts";

interface ScrapedPods {
  /** Name of the Service; default the workload's, where that has no other. */
  readonly service?: string;
  /** Prometheus job name; default the workload's. */
  readonly job?: string;
  /** TCP port of each pod's metrics listener. */
  readonly port: number;
  /** As in `MetricsTarget`. */
  readonly pods?: number;
}

/**
 * Lets Prometheus find every pod of a workload, and not a random one: the name of a headless Service has all their addresses.
 * `metadata` is the workload's own.
 */
export function scrapedPods(
  parent: pulumi.Resource,
  metadata: WorkloadMetadata & { readonly annotations?: Record<string, string> },
  { port, service = metadata.name, job = metadata.name, pods }: ScrapedPods,
): MetricsTarget {
  new k8s.core.v1.Service(
    service,
    {
      metadata: { ...metadata, name: service },
      spec: { clusterIP: "None", selector: selector(metadata.name), ports: [{ name: "metrics", port }] },
    },
    { parent },
  );
  // By the name alone: what is scraped need not be there before Prometheus is.
  return { job, host: serviceHost(service, metadata.namespace), port, ...(pods !== undefined && { pods }) };
}
