/** `make migrate-down`: takes back the latest migrations, by the stack's own migration Job run the other way. */
import { kubectl, operatedCluster, type Cluster } from "./cluster.ts";
import { inServiceSql } from "./database.ts";
import { interruptible } from "./interruptible.ts";
import { runJob } from "./jobs.ts";
import { withLock } from "./lock.ts";
import { requireStack, stackVariables } from "./stack.ts";
import { say, UserError } from "./system.ts";

export interface MigrateDownRequest {
  readonly stack: string;
  /** How many to take back, as typed; empty: one. */
  readonly count: string;
  /** The image that brings them; empty: the one of the last migration. */
  readonly image: string;
  /** Without it, the plan is all. */
  readonly confirmed: boolean;
}

const namespace = "app";

export async function migrateDown(request: MigrateDownRequest): Promise<void> {
  const count = countOf(request.count);
  await requireStack(request.stack);
  // A release runs migrations, too, and a copy of the stack's own.
  await withLock("release", () => withLock("stack", () => takeBack(request, count)));
}

async function takeBack({ stack, image, confirmed }: MigrateDownRequest, count: number): Promise<void> {
  const cluster = await operatedCluster(stack);
  const source = await lastMigration(cluster);
  const undone = await latest(cluster, count);
  say(
    `On ${cluster.context}, these are taken back, the first one first; what is only in their tables and columns is lost:\n` +
      undone.map((name) => `  ${name}\n`).join("") +
      "Pods of a version that brings them are not ready afterwards: bring the version before into service first (docs/upgrade.md).",
  );
  if (!confirmed) {
    const command = `make migrate-down COUNT=${count}${image && ` IMAGE=${image}`}${stackVariables(stack)}`;
    say(`\nThis is the plan; nothing was changed. To carry it out:\n  ${command} CONFIRM=yes`);
    return;
  }
  const name = `app-migrate-down-${Date.now()}`;
  const program = ["node", "/app/dist/migrate.js", "down", String(count)];
  const { migrations } = await interruptible((signal) =>
    runJob({
      ...{ cluster, namespace, source, name, command: program, signal },
      ...(image !== "" && { image }),
    }),
  );
  say(`Taken back: ${Array.isArray(migrations) ? migrations.join(", ") : "nothing"}.`);
}

/** @throws {UserError} unless it is a whole number from 1 on. */
export function countOf(text: string): number {
  if (text === "") return 1;
  if (/^[1-9]\d{0,3}$/.test(text)) return Number(text);
  throw new UserError(
    `COUNT is "${text}" and may be a whole number from 1 to 9999: how many migrations to take back.`,
  );
}

async function lastMigration(cluster: Cluster): Promise<`job.batch/${string}`> {
  const query = ["--selector=app.kubernetes.io/name=app-migrate", "--sort-by=.metadata.creationTimestamp"];
  const names = await kubectl(cluster, [
    "get",
    "jobs",
    `--namespace=${namespace}`,
    ...query,
    "--output=name",
  ]);
  const last = names.trim().split("\n").at(-1);
  if (last) return last as `job.batch/${string}`;
  throw new UserError(
    `${cluster.context} has no migration Job in the namespace ${namespace}: bring the stack up first.`,
  );
}

/** Names of the latest migrations that were run, the last one first. @throws {UserError} when there are fewer. */
async function latest(cluster: Cluster, count: number): Promise<string[]> {
  const statement = `select name from pgmigrations order by id desc limit ${count}`;
  const names = (await inServiceSql(cluster, statement)).split("\n").filter(Boolean);
  if (names.length === count) return names;
  throw new UserError(`COUNT is ${count}, and ${names.length} migrations were run.`);
}
