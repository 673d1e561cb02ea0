/** The database's own side of a restore: what the superuser does from inside the primary's pod, and nowhere else. */
import { kubectl, type Cluster } from "./cluster.ts";
import { UserError } from "./system.ts";

const psql = ["psql", "-XAtq", "-h", "/run/patroni", "-U", "postgres", "-v", "ON_ERROR_STOP=1"];

/** The generation in service. */
export const inService = "app";
/** New generations, until they are in service; and old ones, since. */
export const prefixes = { restored: "app_restored_", aside: "app_before_" } as const;

export interface Database {
  readonly name: string;
  readonly bytes: number;
  /** Whether it takes connections. */
  readonly open: boolean;
}

/** Runs a program in the pod of the member that holds the leader's lock, whichever that is now. */
export async function inPrimary(cluster: Cluster, command: readonly string[]): Promise<string> {
  const leader = "{.metadata.annotations.leader}";
  const query = ["get", "endpoints", "--namespace=data", "postgres", `--output=jsonpath=${leader}`];
  const primary = await kubectl(cluster, query).catch(() => "");
  if (primary === "")
    throw new UserError(
      `Postgres has no primary on ${cluster.context}. \`make status\` shows what runs there; bring the stack up first.`,
    );
  return kubectl(cluster, ["exec", "--namespace=data", primary, "--container=patroni", "--", ...command]);
}

function sql(cluster: Cluster, ...statements: readonly string[]): Promise<string> {
  return inPrimary(cluster, [...psql, "-d", "postgres", ...statements.flatMap((text) => ["-c", text])]);
}

/** What the superuser is answered in the generation in service, whose columns are parted by `|`. */
export function inServiceSql(cluster: Cluster, text: string): Promise<string> {
  return inPrimary(cluster, [...psql, "-d", inService, "-c", text]);
}

/** The generation in service, and every other. */
export async function databases(cluster: Cluster): Promise<Database[]> {
  const rows = await sql(
    cluster,
    `select datname, pg_database_size(oid), datallowconn from pg_database where datname ~ '^${inService}(_|$)' order by 1`,
  );
  return rows
    .split("\n")
    .filter(Boolean)
    .map((row) => row.split("|"))
    .map(([name = "", bytes, open]) => ({ name, bytes: Number(bytes), open: open === "t" }));
}

/** Size and free space of the primary's volume, bytes. */
export async function volumeBytes(
  cluster: Cluster,
): Promise<{ readonly all: number; readonly free: number }> {
  const output = await inPrimary(cluster, ["df", "--output=size,avail", "-B1", "/var/lib/postgresql/data"]);
  const [all, free] = (output.trim().split("\n").at(-1) ?? "").trim().split(/\s+/).map(Number);
  return { all: all ?? NaN, free: free ?? NaN };
}

/** An empty database with the owner and grants of the one in service. */
export async function createDatabase(cluster: Cluster, name: string): Promise<void> {
  const file = "/etc/groundwork/patroni/database.sql";
  await inPrimary(cluster, [...psql, "-d", "postgres", "-v", `database=${name}`, "-f", file]);
}

export async function dropDatabase(cluster: Cluster, name: string): Promise<void> {
  await sql(cluster, `drop database if exists "${name}" with (force)`);
}

/** Ends every session of the database and lets none begin: nothing can be written that a restore would leave behind. */
export async function close(cluster: Cluster): Promise<void> {
  await sql(
    cluster,
    `alter database "${inService}" with allow_connections false`,
    `select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = '${inService}'`,
  );
}

export async function open(cluster: Cluster): Promise<void> {
  await sql(cluster, `alter database "${inService}" with allow_connections true`);
}

/** In one transaction: the generation in service steps aside, closed as it is, and the restored one takes its name. */
export async function switchTo(cluster: Cluster, restored: string, aside: string): Promise<void> {
  await sql(
    cluster,
    `begin; alter database "${inService}" rename to "${aside}"; alter database "${restored}" rename to "${inService}"; commit`,
  );
}
