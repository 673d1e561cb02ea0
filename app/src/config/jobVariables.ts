import { z } from "zod";
import type { JobKind } from "../jobs/job.ts";
import { readFeeds } from "../jobs/feeds.ts";
import { described, optional, wholeNumber } from "./forms.ts";

export interface QueueLimits {
  /** Jobs of this kind that run at once in each worker. */
  concurrency: number;
  /** Of those, jobs of one tenant. */
  perTenant: number;
  /** After this long a job is given up, and flagged while it does not stop. */
  timeLimitSeconds: number;
}

export const batches = ["collection", "summaries", "clean-up"] as const;
export type Batch = (typeof batches)[number];

export interface JobsConfig {
  limits: Record<JobKind, QueueLimits>;
  /** Attempts after the first, before a job becomes a dead letter. */
  retries: number;
  /** Wait before the second attempt; it doubles with every further one. */
  backoffSeconds: number;
  feedsFile: string | undefined;
  /** Cron expressions of five fields, in `timeZone`. */
  schedules: Record<Batch, string>;
  timeZone: string;
  /** How long a stopping worker goes on with the jobs it has before it hands them back. */
  graceSeconds: number;
}

const ranges = [
  [0, 59],
  [0, 23],
  [1, 31],
  [1, 12],
  [0, 7],
] as const;

/** Five fields of numbers, lists, ranges and steps, each within what the field may hold. */
function isCron(value: string): boolean {
  const fields = value.split(" ");
  return (
    fields.length === ranges.length &&
    ranges.every(([least, most], index) =>
      (fields[index] ?? "").split(",").every((part) => {
        const [whole, from, to, step] = /^(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:\/(\d{1,2}))?$/.exec(part) ?? [];
        const isWithin = (text: string | undefined) =>
          text === undefined || (Number(text) >= least && Number(text) <= most);
        return (
          whole !== undefined &&
          isWithin(from) &&
          isWithin(to) &&
          step !== "0" &&
          Number(from ?? 0) <= Number(to ?? most)
        );
      }),
    )
  );
}

const cron = z.string().refine(isCron, "expected a cron expression of five fields, such as 30 2 * * *");

const timeZone = z
  .string()
  .refine(
    (zone) => zone === "UTC" || Intl.supportedValuesOf("timeZone").includes(zone),
    "expected a time zone such as Asia/Tokyo",
  );

const feedsFile = z.string().superRefine((path, context) => {
  try {
    readFeeds(path);
  } catch {
    context.addIssue('expected the path of a JSON file {"tenant name": ["https://…"]}');
  }
});

function concurrency(kind: JobKind, fallback: number) {
  return described(wholeNumber(1, 100).default(fallback), {
    description: `Jobs of the queue ${kind} that run at once in each worker`,
  });
}

function perTenant(kind: JobKind, fallback: number) {
  return described(wholeNumber(1, 100).default(fallback), {
    description: `Jobs of the queue ${kind} that run at once for one tenant`,
  });
}

function timeLimit(kind: JobKind, fallback: number) {
  return described(wholeNumber(1, 3600).default(fallback), {
    description: `Seconds after which a job of the queue ${kind} is given up`,
  });
}

function schedule(fallback: string, description: string) {
  return described(cron.default(fallback), { description });
}

/** What the worker reads beside the rest. */
export const jobVariables = {
  COLLECT_CONCURRENCY: concurrency("collect", 4),
  COLLECT_CONCURRENCY_PER_TENANT: perTenant("collect", 2),
  COLLECT_TIME_LIMIT_SECONDS: timeLimit("collect", 60),
  SUMMARIZE_CONCURRENCY: concurrency("summarize", 4),
  SUMMARIZE_CONCURRENCY_PER_TENANT: perTenant("summarize", 2),
  SUMMARIZE_TIME_LIMIT_SECONDS: timeLimit("summarize", 120),
  GENERATE_CONCURRENCY: concurrency("generate", 8),
  GENERATE_CONCURRENCY_PER_TENANT: perTenant("generate", 2),
  GENERATE_TIME_LIMIT_SECONDS: timeLimit("generate", 120),
  JOB_RETRIES: described(wholeNumber(0, 20).default(5), {
    description: "Attempts after the first before a job becomes a dead letter",
  }),
  JOB_BACKOFF_SECONDS: described(wholeNumber(0, 300).default(2), {
    description: "Seconds before a failed job's second attempt, doubled for every further one",
  }),
  FEEDS_FILE: optional(
    feedsFile,
    "/etc/groundwork/feeds.json",
    "File with each tenant's feeds, read at every collection; without it none are collected",
  ),
  COLLECTION_SCHEDULE: schedule("*/15 * * * *", "When feeds are collected (cron)"),
  SUMMARIES_SCHEDULE: schedule("*/5 * * * *", "When items without a summary are looked for (cron)"),
  CLEAN_UP_SCHEDULE: schedule("30 2 * * *", "When rows past their age are deleted (cron)"),
  SCHEDULE_TIME_ZONE: described(timeZone.default("Asia/Tokyo"), {
    description: "Time zone of the schedules",
  }),
  WORKER_GRACE_SECONDS: described(wholeNumber(0, 600).default(20), {
    description: "Seconds that a stopping worker goes on with the jobs it has before it hands them back",
  }),
};

export function toJobsConfig(env: z.output<z.ZodObject<typeof jobVariables>>): JobsConfig {
  const limits = (prefix: "COLLECT" | "SUMMARIZE" | "GENERATE"): QueueLimits => ({
    concurrency: env[`${prefix}_CONCURRENCY`],
    perTenant: env[`${prefix}_CONCURRENCY_PER_TENANT`],
    timeLimitSeconds: env[`${prefix}_TIME_LIMIT_SECONDS`],
  });
  return {
    limits: { collect: limits("COLLECT"), summarize: limits("SUMMARIZE"), generate: limits("GENERATE") },
    retries: env.JOB_RETRIES,
    backoffSeconds: env.JOB_BACKOFF_SECONDS,
    feedsFile: env.FEEDS_FILE,
    schedules: {
      collection: env.COLLECTION_SCHEDULE,
      summaries: env.SUMMARIES_SCHEDULE,
      "clean-up": env.CLEAN_UP_SCHEDULE,
    },
    timeZone: env.SCHEDULE_TIME_ZONE,
    graceSeconds: env.WORKER_GRACE_SECONDS,
  };
}
