/**
 * `make restore`: a backup becomes a new generation of the database, beside the one in service. It is checked before the service
 * moves to it, and the old one stays aside. Each step must succeed before the next begins.
 */
import { askInApp } from "./askInApp.ts";
import { kubectl, type Cluster } from "./cluster.ts";
import {
  close,
  createDatabase,
  databases,
  dropDatabase,
  inService,
  open,
  prefixes,
  switchTo,
  volumeBytes,
} from "./database.ts";
import { withoutRelease } from "./delivery/noRelease.ts";
import { insist, interruptible } from "./interruptible.ts";
import { runJob } from "./jobs.ts";
import {
  checkRoom,
  describe,
  makePlan,
  size,
  sourceOf,
  type Plan,
  type RestoreRequest,
  type Source,
} from "./restorePlan.ts";
import { stackVariables } from "./stack.ts";
import { message, say, UserError } from "./system.ts";

export async function restore(request: RestoreRequest): Promise<Names> {
  const source = sourceOf(request, new Date());
  return withoutRelease(request.stack, (cluster) => restoreFrom(source, cluster, request));
}

/**
 * For who keeps others from the stack. Gives the names of the new generation until the switch, and of the old one since; nothing changes
 * before step 1.
 */
export async function restoreFrom(
  source: Source,
  cluster: Cluster,
  { confirmed, stack }: Pick<RestoreRequest, "confirmed" | "stack">,
): Promise<Names> {
  const stamp = new Date().toISOString().replace(/\D/g, "").slice(0, 14);
  const plan = await makePlan(cluster, source, stamp);
  checkRoom(plan, (await volumeBytes(cluster)).free);
  const names = { restored: `${prefixes.restored}${stamp}`, aside: `${prefixes.aside}${stamp}` };
  say(describe(plan, cluster.context, names.aside));
  await showOthers(cluster);
  const command = `make restore ${plan.variable}${stackVariables(stack)} CONFIRM=yes`;
  if (!confirmed) {
    say(`\nThis is the plan; nothing was changed. To carry it out:\n  ${command}`);
    return names;
  }
  await carryOut(cluster, plan, stamp, names, command);
  return names;
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

function carryOut(cluster: Cluster, plan: Plan, stamp: string, names: Names, command: string): Promise<void> {
  return interruptible(async (signal) => {
    const started = Date.now();
    const step = stepper();
    await beforeSwitch(cluster, names.restored, signal, async () => {
      await step("stop", () => close(cluster));
      await step("restore and check", async () => {
        for (const { name } of await databases(cluster))
          if (name.startsWith(prefixes.restored)) await dropDatabase(cluster, name);
        await createDatabase(cluster, names.restored);
        const env = { ...plan.env, STEP: "restore", TARGET: names.restored };
        const name = `restore-${stamp}`;
        const { rows, tables, constraints } = await runJob({ cluster, ...plan.job, name, env, signal });
        return `${String(tables)} tables, ${String(rows)} rows, ${String(constraints)} constraints are as they were`;
      });
      signal.throwIfAborted();
      await step("switch", () => switched(cluster, names));
    });
    // From here on the way back is longer than the way to the end, to which an interrupted run goes, too.
    const finish = (action: () => Promise<void>): Promise<void> =>
      action().catch((error: unknown) => {
        if (!signal.aborted) throw error;
        return insist(action);
      });
    try {
      await step("start", () => finish(() => startAnew(cluster)));
      await step("connectivity", () => finish(() => ready(cluster)));
    } catch (error) {
      throw new UserError(
        `${message(error)}\nThe restored database is in service as ${inService}, the old one is aside as ${names.aside}; queue, cache, ` +
          `schema and pods may be as they were before. When the cause is mended, restore the same anew: ${command}\n` +
          `Or go back to the old one, as docs/data.md says.`,
      );
    }
    say(
      `\nRestored ${plan.what} in ${Math.round((Date.now() - started) / 1000)} s; the old data is in ${names.aside}.`,
    );
  });
}

/** Where the answer is lost, what the server has says whether it was done. */
async function switched(cluster: Cluster, { restored, aside }: Names): Promise<void> {
  try {
    await switchTo(cluster, restored, aside);
  } catch (error) {
    const found = await insist(() => databases(cluster));
    if (!found.some(({ name }) => name === aside)) throw error;
  }
}

/** What fails here, or is interrupted, leaves the old database as it was, and in service. */
async function beforeSwitch(
  cluster: Cluster,
  restored: string,
  signal: AbortSignal,
  steps: () => Promise<void>,
): Promise<void> {
  try {
    await steps();
  } catch (error) {
    const reason = message(signal.aborted ? signal.reason : error);
    try {
      await insist(() => open(cluster));
      await insist(() => dropDatabase(cluster, restored));
    } catch (second) {
      throw new UserError(
        `${reason}\nThe old database could not be opened again (${message(second)}). When Postgres answers, run the same ` +
          `command again, or open it as docs/data.md says.`,
      );
    }
    throw new UserError(`${reason}\nThe service goes on with the data that it had.`);
  }
}

/** What was made from the old data goes; then migrations and pods, as after a rollout. May be done again from anywhere in it. */
async function startAnew(cluster: Cluster): Promise<void> {
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
    const name = `app-migrate-restore-${Date.now()}`;
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
