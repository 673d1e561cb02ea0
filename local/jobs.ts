/** Jobs that are run by hand: from a CronJob of the stack, or as a Job was run before. */
import { setTimeout as sleep } from "node:timers/promises";
import { kubectl, kubectlProgram, type Cluster } from "./cluster.ts";
import { insist } from "./interruptible.ts";
import { run, tryRun, UserError } from "./system.ts";

interface JobSpec {
  readonly activeDeadlineSeconds?: number;
  readonly template: {
    readonly metadata: { readonly labels: Readonly<Record<string, string>> };
    readonly spec: { readonly containers: readonly { readonly env?: readonly object[] }[] };
  };
}

/** A CronJob or a Job, as the API server has it. */
export interface JobSource {
  readonly spec: JobSpec & { readonly jobTemplate?: { readonly spec: JobSpec } };
}

export interface Run extends JobChanges {
  readonly cluster: Cluster;
  readonly namespace: string;
  /** Such as `cronjob/backup-hourly`. */
  readonly source: `cronjob/${string}` | `job.batch/${string}`;
  /** Name of the new Job; it is gone afterwards. */
  readonly name: string;
  /** Ends the Job when aborted. */
  readonly signal?: AbortSignal;
}

/**
 * A Job that is run by hand. It has a label of its own: without any, the API server gives it those of its pods, and whoever looks for
 * the stack's own Job would take this one for it.
 */
export function jobByHand(namespace: string, name: string, spec: object): object {
  const labels = { "app.kubernetes.io/managed-by": "make" };
  return { apiVersion: "batch/v1", kind: "Job", metadata: { name, namespace, labels }, spec };
}

/**
 * Runs the Job to its end and gives the last line that it logged, as JSON where it is some.
 * @throws {UserError} with the reason that the job logged, if it failed.
 */
export async function runJob(wanted: Run): Promise<Readonly<Record<string, unknown>>> {
  const { cluster, namespace, source, name, signal } = wanted;
  const inNamespace = `--namespace=${namespace}`;
  const found = JSON.parse(
    await kubectl(cluster, ["get", inNamespace, source, "--output=json"]),
  ) as JobSource;
  const manifest = jobByHand(namespace, name, specOf(found, wanted));
  const connection = ["--kubeconfig", cluster.kubeconfig, "--context", cluster.context];
  const program = await kubectlProgram();
  await run(program, [...connection, "create", "--filename=-"], { input: JSON.stringify(manifest) });
  try {
    const succeeded = await ended(cluster, inNamespace, name, signal);
    const logs = (await tryRun(program, [...connection, "logs", inNamespace, `job.batch/${name}`])) ?? "";
    const last = lastLine(logs);
    if (succeeded) return last;
    const { message } = last;
    throw new UserError(
      typeof message === "string" && message !== ""
        ? message
        : `${source} was ended before it could say why.`,
    );
  } finally {
    await tryRun(program, [...connection, "delete", inNamespace, "job.batch", name, "--wait=false"]);
  }
}

/** Polls: a watch would have to be taken up again whenever the connection breaks. */
async function ended(
  cluster: Cluster,
  inNamespace: string,
  name: string,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const path = "{.status.conditions[?(@.status=='True')].type}";
  for (;;) {
    const query = ["get", inNamespace, "job.batch", name, `--output=jsonpath=${path}`];
    const conditions = (await insist(() => kubectl(cluster, query))).split(" ");
    if (conditions.includes("Complete")) return true;
    if (conditions.includes("Failed")) return false;
    signal?.throwIfAborted();
    await sleep(1000);
  }
}

/** What a run may have otherwise than the stack's own. */
export interface JobChanges {
  readonly command?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly image?: string;
}

/** A spec for a run of its own: once, and without what ties it to the Job that it was read from. */
export function specOf({ spec }: JobSource, { command, env = {}, image }: JobChanges): object {
  const { activeDeadlineSeconds, template } = spec.jobTemplate?.spec ?? spec;
  const labels = Object.entries(template.metadata.labels).filter(
    ([key]) => !/controller-uid|job-name/.test(key),
  );
  const variables = Object.entries(env).map(([name, value]) => ({ name, value }));
  const containers = template.spec.containers.map((container) => ({
    ...container,
    ...(command && { command }),
    ...(image !== undefined && { image }),
    env: [...(container.env ?? []), ...variables],
  }));
  return {
    backoffLimit: 0,
    activeDeadlineSeconds,
    template: { metadata: { labels: Object.fromEntries(labels) }, spec: { ...template.spec, containers } },
  };
}

function lastLine(logs: string): Readonly<Record<string, unknown>> {
  const line = logs.trimEnd().split("\n").at(-1) ?? "";
  try {
    return JSON.parse(line) as Readonly<Record<string, unknown>>;
  } catch {
    return { message: line };
  }
}
