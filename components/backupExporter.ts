import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { programPods, type Program, type ProgramHost } from "./backupPods.ts";
import { scrapedPods } from "./metricsService.ts";
import { labels, selector } from "./podDefaults.ts";
import type { MetricsTarget } from "./types.ts";

const name = "backup-exporter";
const port = 9469;

export interface BackupExporterArgs extends Pick<Program, "resources" | "env"> {
  /** Follow the programs, so that a change of them rolls the pod. */
  readonly annotations: Record<string, string>;
}

/** Reads from the container itself when the last good backups were made, and what should have been deleted. */
export function backupExporter(
  parent: pulumi.Resource,
  host: ProgramHost,
  { annotations, ...program }: BackupExporterArgs,
): MetricsTarget {
  const { namespace } = host;
  const metadata = { name, namespace, labels: labels(name, "backup") };
  const matchLabels = selector(name);
  const probe = { httpGet: { path: "/health", port: "metrics" }, timeoutSeconds: 3 };
  const pods = programPods(parent, host, {
    ...program,
    name,
    script: "exporter.py",
    scratchMiB: 8,
    env: { ...program.env, METRICS_PORT: String(port) },
  });
  new k8s.apps.v1.Deployment(
    name,
    {
      metadata,
      spec: {
        replicas: 1,
        progressDeadlineSeconds: 120,
        selector: { matchLabels },
        template: {
          metadata: { labels: pods.labels, annotations },
          spec: pods.spec(
            {},
            {
              ports: [{ name: "metrics", containerPort: port }],
              startupProbe: { ...probe, periodSeconds: 2, failureThreshold: 30 },
              readinessProbe: { ...probe, periodSeconds: 10 },
              livenessProbe: { ...probe, periodSeconds: 20, failureThreshold: 3 },
            },
          ),
        },
      },
    },
    { parent, customTimeouts: { create: "4m", update: "4m" } },
  );
  return scrapedPods(parent, metadata, { job: "backup", port });
}
