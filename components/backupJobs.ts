import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";

import type { ProgramPods } from "./backupPods.ts";
import { labels } from "./podDefaults.ts";

/** Where the jobs of the backups run, and by which clock. */
export interface JobHost {
  readonly namespace: pulumi.Output<string>;
  /** IANA time zone of the schedules. */
  readonly timeZone: string;
}

/** When a job runs, and how much delay is borne. */
export interface Schedule {
  readonly cron: string;
  /** Never by itself: it is there for a person to start, once. */
  readonly byHand?: boolean;
  /** How late it may start; a run missed by more is left out. */
  readonly startingDeadlineSeconds: number;
  /** How long it may take with its retry; then it is stopped and has failed. */
  readonly activeDeadlineSeconds: number;
}

// What is done once a day may begin an hour late and take four.
export const daily = { startingDeadlineSeconds: 3_600, activeDeadlineSeconds: 14_400 };

/** A pod that has ended keeps its volume, so both go after this; the lines that it logged stay where they are collected. */
const keptVolumeSeconds = 3_600;

export interface ScheduledJob {
  readonly name: string;
  readonly when: Schedule;
  readonly pods: ProgramPods;
  /** Besides the pods' own. */
  readonly env?: Readonly<Record<string, string>>;
  /** Another program than the pods' own. */
  readonly script?: string;
}

/** Runs a program's pods on schedule, never two at a time. */
export function scheduledJob(
  parent: pulumi.Resource,
  { namespace, timeZone }: JobHost,
  { name, when, pods, env = {}, script }: ScheduledJob,
): void {
  new k8s.batch.v1.CronJob(
    name,
    {
      metadata: { name, namespace, labels: labels(name, "backup") },
      spec: {
        schedule: when.cron,
        timeZone,
        concurrencyPolicy: "Forbid",
        suspend: when.byHand ?? false,
        startingDeadlineSeconds: when.startingDeadlineSeconds,
        successfulJobsHistoryLimit: 3,
        failedJobsHistoryLimit: 3,
        jobTemplate: {
          spec: {
            backoffLimit: when.byHand ? 0 : 1,
            activeDeadlineSeconds: when.activeDeadlineSeconds,
            ...(pods.ownVolume && { ttlSecondsAfterFinished: keptVolumeSeconds }),
            template: {
              metadata: { labels: pods.labels },
              spec: { ...pods.spec(env, script ? { script } : {}), restartPolicy: "Never" },
            },
          },
        },
      },
    },
    { parent },
  );
}

/** Runs a program's pods at once, and again when they change. No `up` waits for it: the alerts tell when it has failed. */
export function firstJob(
  parent: pulumi.Resource,
  { namespace }: JobHost,
  name: string,
  pods: ProgramPods,
): void {
  new k8s.batch.v1.Job(
    name,
    {
      metadata: {
        name,
        namespace,
        labels: labels(name, "backup"),
        annotations: { "pulumi.com/skipAwait": "true" },
      },
      spec: {
        backoffLimit: 6,
        activeDeadlineSeconds: daily.activeDeadlineSeconds,
        template: { metadata: { labels: pods.labels }, spec: { ...pods.spec({}), restartPolicy: "Never" } },
      },
    },
    { parent, deleteBeforeReplace: true },
  );
}
