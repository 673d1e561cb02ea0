/**
 * `make restore`: a backup becomes a new generation of the database, beside the one in service. It is checked before the service
 * moves to it, and the old one stays aside. Each step must succeed before the next begins.
 */
import { homedir } from "node:os";
import { join } from "node:path";
import { askInApp } from "./askInApp.ts";
import { currentCluster, kubectl, type Cluster } from "./cluster.ts";
import {
  close,
  createDatabase,
  databases,
  dropDatabase,
  freeBytes,
  inService,
  open,
  prefixes,
  switchTo,
} from "./database.ts";
import { runJob } from "./jobs.ts";
import { withLock } from "./lock.ts";
import { committedContext, requireStack } from "./stack.ts";
import { message, say, UserError } from "./system.ts";

export interface RestoreRequest {
  /** `latest`, or a backup as `<kind>/<timestamp>`. */
  readonly from: string;
  /** Without it only the plan is shown. */
  readonly confirmed: boolean;
  readonly stack: string;
}

interface Plan {
  readonly backup: string;
  readonly takenAt: string;
  readonly verified: boolean;
  readonly dumpBytes: number;
  readonly databaseBytes: number;
  readonly tables: number;
  readonly rows: number;
  readonly schemaVersion: string | null;
}

/** Room for the restored data, and as much again for the log of writing it. */
const roomFactor = 2;

/** Gives the names of the new generation until the switch, and of the old one since; nothing changes before step 1. */
export async function restore({ from, confirmed, stack }: RestoreRequest): Promise<Names> {
  if (!/^(latest|[a-z]+\/\d{8}T\d{6}Z)$/.test(from))
    throw new UserError(
      `FROM is "${from}" and may be latest, or a backup as <kind>/<timestamp>: make restore FROM=hourly/20260101T000700Z`,
    );
  await requireStack(stack);
  return withLock("stack", async () => {
    const cluster = await operatedCluster(stack);
    const stamp = new Date().toISOString().replace(/\D/g, "").slice(0, 14);
    const plan = await makePlan(cluster, from, stamp);
    await checkRoom(cluster, plan);
    const names = { restored: `${prefixes.restored}${stamp}`, aside: `${prefixes.aside}${stamp}` };
    say(describe(plan, cluster, names.aside));
    await showOthers(cluster);
    if (!confirmed) {
      const command = `make restore FROM=${plan.backup}${stack === "dev" ? "" : ` STACK=${stack}`} CONFIRM=yes`;
      say(`\nThis is the plan; nothing was changed. To carry it out:\n  ${command}`);
      return names;
    }
    await carryOut(cluster, plan, stamp, names);
    return names;
  });
}

/** The machine's own cluster for dev; for another stack the context that its file names. */
async function operatedCluster(stack: string): Promise<Cluster> {
  if (stack === "dev") return currentCluster();
  const kubeconfig = process.env["KUBECONFIG"] ?? join(homedir(), ".kube", "config");
  const context = await committedContext(stack);
  return { kind: "existing", kubeconfig, context, loopbackSources: [], apiServerCidrs: [] };
}

/** Asks the pod that will restore: it has the key, and sees the container. */
async function makePlan(cluster: Cluster, from: string, stamp: string): Promise<Plan> {
  say(`Looking at ${from === "latest" ? "the newest backup" : from}…`);
  try {
    const env = { STEP: "plan", FROM: from };
    const found = await runJob({ cluster, ...restoreJob, name: `restore-plan-${stamp}`, env });
    return found as unknown as Plan;
  } catch (error) {
    throw new UserError(`${message(error)}\nNothing was changed.`);
  }
}

const restoreJob = { namespace: "data", source: "cronjob/backup-restore" } as const;

/** A server whose disk is full serves nobody: that must not be found out half-way. */
async function checkRoom(cluster: Cluster, { databaseBytes }: Plan): Promise<void> {
  const [free, needed] = [await freeBytes(cluster), databaseBytes * roomFactor];
  if (free >= needed) return;
  throw new UserError(
    `The volume of the Postgres primary has ${size(free)} left, and the restored database needs ${size(needed)} beside the one ` +
      `in service. Drop generations that are no longer needed, or raise groundwork:postgres.storageGiB. Nothing was changed.`,
  );
}

function describe(plan: Plan, { context }: Cluster, aside: string): string {
  const minutes = Math.round((Date.now() - Date.parse(plan.takenAt)) / 60_000);
  const proven = plan.verified ? "restored and compared by a verification" : "not the newest verified one";
  return `
Restore ${plan.backup} on ${context}
  taken ${plan.takenAt} (${minutes} min ago); ${proven}
  ${plan.tables} tables, ${plan.rows} rows, schema ${plan.schemaVersion ?? "none"}, dump ${size(plan.dumpBytes)}, database ${size(plan.databaseBytes)}

  1. stop           the database closes; the service answers 503 from here on
  2. restore        into a new database beside it
  3. check          checksum, rows per table, constraints, schema, against what was recorded when it was dumped
  4. switch         the new database takes the name ${inService}; the old one stays aside as ${aside}
  5. start          queue and cache are emptied, migrations run, pods of app and workers start anew
  6. connectivity   the app says that it is ready

What was written since ${plan.takenAt} will be in ${aside} only.
If a step before the switch fails, the old database is opened again and serves as it did.`;
}

async function showOthers(cluster: Cluster): Promise<void> {
  const others = (await databases(cluster)).filter(({ name }) => name !== inService);
  if (others.length === 0) return;
  say("\nOther generations on the server (drop one: see docs/data.md):");
  for (const { name, bytes } of others) say(`  ${name}  ${size(bytes)}`);
}

export interface Names {
  readonly restored: string;
  readonly aside: string;
}

async function carryOut(cluster: Cluster, plan: Plan, stamp: string, names: Names): Promise<void> {
  const started = Date.now();
  const step = stepper();
  await beforeSwitch(cluster, names.restored, async () => {
    await step("stop", () => close(cluster));
    await step("restore and check", async () => {
      for (const { name } of await databases(cluster))
        if (name.startsWith(prefixes.restored)) await dropDatabase(cluster, name);
      await createDatabase(cluster, names.restored);
      const env = { STEP: "restore", FROM: plan.backup, TARGET: names.restored };
      const { rows, tables, constraints } = await runJob({
        cluster,
        ...restoreJob,
        name: `restore-${stamp}`,
        env,
      });
      return `${String(tables)} tables, ${String(rows)} rows, ${String(constraints)} constraints are as they were`;
    });
    await step("switch", () => switchTo(cluster, names.restored, names.aside));
  });
  try {
    await step("start", () => startAnew(cluster, stamp));
    await step("connectivity", () => ready(cluster));
  } catch (error) {
    throw new UserError(
      `${message(error)}\nThe restored database is in service as ${inService}, the old one is aside as ${names.aside}. ` +
        `docs/data.md says how to go back to it.`,
    );
  }
  say(
    `\nRestored ${plan.backup} in ${Math.round((Date.now() - started) / 1000)} s; the old data is in ${names.aside}.`,
  );
}

/** What fails here leaves the old database as it was, and in service. */
async function beforeSwitch(cluster: Cluster, restored: string, steps: () => Promise<void>): Promise<void> {
  try {
    await steps();
  } catch (error) {
    try {
      await open(cluster);
      await dropDatabase(cluster, restored);
    } catch (second) {
      throw new UserError(
        `${message(error)}\nThe old database could not be opened again (${message(second)}). When Postgres answers, run the same ` +
          `command again, or open it as docs/data.md says.`,
      );
    }
    throw new UserError(`${message(error)}\nThe service goes on with the data that it had.`);
  }
}

/** What was made from the old data goes; then migrations and pods, as after a rollout. */
async function startAnew(cluster: Cluster, stamp: string): Promise<void> {
  const inData = "--namespace=data";
  for (const purpose of ["redis-queue", "redis-cache"]) {
    const selector = `--selector=app.kubernetes.io/name=${purpose}`;
    for (const pod of await names(cluster, ["pods", inData, selector])) {
      const command = ["--container=redis", "--", "/bin/sh", "/etc/groundwork/redis/empty.sh"];
      await kubectl(cluster, ["exec", inData, pod, ...command]);
    }
  }
  const inApp = "--namespace=app";
  const newest = "--sort-by=.metadata.creationTimestamp";
  const jobs = ["jobs", inApp, "--selector=app.kubernetes.io/name=app-migrate", newest];
  const migration = (await names(cluster, jobs)).at(-1);
  if (migration !== undefined) {
    const name = `app-migrate-restore-${stamp}`;
    await runJob({ cluster, namespace: "app", source: `job.batch/${migration}`, name });
  }
  const both = "--selector=app.kubernetes.io/name in (app, worker)";
  await kubectl(cluster, ["delete", "pods", inApp, both, "--wait=false"]);
  for (const deployment of await names(cluster, ["deployments", inApp, both]))
    await kubectl(cluster, ["rollout", "status", inApp, `deployment/${deployment}`, "--timeout=180s"]);
}

async function names(cluster: Cluster, what: readonly string[]): Promise<string[]> {
  const output = await kubectl(cluster, ["get", ...what, "--output=jsonpath={.items[*].metadata.name}"]);
  return output.split(" ").filter(Boolean);
}

/** Asked in a pod: the way from here to the edge may not exist. */
async function ready(cluster: Cluster): Promise<void> {
  const program = `${askInApp}
ask("/ready").then(({ status, text }) => { console.log(text); process.exit(status === 200 ? 0 : 1) });`;
  await kubectl(cluster, ["exec", "--namespace=app", "deploy/app", "--", "node", "-e", program]);
}

/** Announces each step, and how it ended. */
function stepper(): (title: string, action: () => Promise<unknown>) => Promise<void> {
  let number = 0;
  return async (title, action) => {
    number += 1;
    const started = Date.now();
    say(`[${number}] ${title}…`);
    const said = await action();
    say(
      `[${number}] ${title}: ok, ${((Date.now() - started) / 1000).toFixed(1)} s${typeof said === "string" ? `; ${said}` : ""}`,
    );
  };
}

function size(bytes: number): string {
  const [unit, label] = bytes < 1 << 30 ? [1 << 20, "MiB"] : [1 << 30, "GiB"];
  return `${(bytes / unit).toFixed(1)} ${label}`;
}
