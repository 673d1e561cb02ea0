import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import { z } from "zod";

import type { MetricsSource } from "./monitoring/settings.ts";
import type { WorkloadMetadata } from "./types.ts";

/** Pods by load: between the workload's `replicas` and `maxReplicas`. */
export const loadScalingSchema = z.strictObject({
  maxReplicas: z.int().min(2).max(100).default(10).describe("pods at most"),
  cpuPercent: z.int().min(1).max(1000).default(70).describe("CPU used on average, percent of the request"),
  memoryPercent: z
    .int()
    .min(1)
    .max(100)
    .default(80)
    .describe("memory used on average, percent of the request"),
});

/** Pods by waiting jobs, where the cluster has KEDA: between `replicas` and `maxReplicas`. */
export const queueScalingFields = {
  scaling: z
    .enum(["fixed", "keda"])
    .default("fixed")
    .describe("fixed: always `replicas` pods; keda: more while jobs wait, on a cluster that has KEDA"),
  maxReplicas: z.int().min(1).max(100).default(10).describe("pods at most; only for scaling: keda"),
  jobsPerPod: z
    .int()
    .min(1)
    .max(100_000)
    .default(20)
    .describe("waiting jobs for each of which there is a pod; only for scaling: keda"),
};

export type LoadScaling = z.output<typeof loadScalingSchema>;

/** Who decides on a Deployment's number of pods: its scaler, or else the program, whoever decided on it before. */
export function podCount(
  metadata: WorkloadMetadata,
  scaled: boolean,
): {
  readonly metadata: k8s.types.input.meta.v1.ObjectMeta;
  readonly options: Pick<pulumi.CustomResourceOptions, "ignoreChanges">;
} {
  return scaled
    ? { metadata, options: { ignoreChanges: ["spec.replicas"] } }
    : { metadata: { ...metadata, annotations: { "pulumi.com/patchForce": "true" } }, options: {} };
}

/**
 * How long an `up` waits for a Deployment of at most `pods` pods: at first they start side by side, in a rollout one after
 * another, each some ten seconds after the last; twice that leaves room for slow nodes.
 */
export function rolloutTimeouts(pods: number): pulumi.CustomTimeouts {
  return { create: "4m", update: `${300 + 20 * pods}s` };
}

/** Scales a Deployment on the CPU and memory of its pods: up at once, down slowly, as load comes back. */
export function scaleOnLoad(
  parent: pulumi.Resource,
  metadata: WorkloadMetadata,
  minReplicas: number,
  { maxReplicas, cpuPercent, memoryPercent }: LoadScaling,
): void {
  const metric = (name: string, averageUtilization: number) => ({
    type: "Resource",
    resource: { name, target: { type: "Utilization", averageUtilization } },
  });
  new k8s.autoscaling.v2.HorizontalPodAutoscaler(
    metadata.name,
    {
      metadata,
      spec: {
        scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: metadata.name },
        minReplicas,
        maxReplicas,
        metrics: [metric("cpu", cpuPercent), metric("memory", memoryPercent)],
        behavior: { scaleDown: { stabilizationWindowSeconds: 300 } },
      },
    },
    { parent },
  );
}

/** Has KEDA scale a Deployment on the jobs that wait, as Prometheus knows them: KEDA needs no password of the queue. */
export function scaleOnQueue(
  parent: pulumi.Resource,
  metadata: WorkloadMetadata,
  minReplicaCount: number,
  args: {
    readonly maxReplicas: number;
    readonly jobsPerPod: number;
    /** Knows how many jobs wait. */
    readonly figures: MetricsSource;
  },
): void {
  new k8s.apiextensions.CustomResource(
    `${metadata.name}-scaling`,
    {
      apiVersion: "keda.sh/v1alpha1",
      kind: "ScaledObject",
      metadata,
      spec: {
        scaleTargetRef: { name: metadata.name },
        minReplicaCount,
        maxReplicaCount: args.maxReplicas,
        cooldownPeriod: 300,
        // Without an answer from Prometheus there are as many pods as without a scaler.
        fallback: { failureThreshold: 3, replicas: minReplicaCount },
        triggers: [
          {
            type: "prometheus",
            metadata: {
              serverAddress: args.figures.url,
              // Every worker reports the whole queue.
              query: args.figures.asked("sum(max by (queue) (app_jobs_waiting))"),
              threshold: String(args.jobsPerPod),
            },
          },
        ],
      },
    },
    { parent },
  );
}
