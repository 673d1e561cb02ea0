/** What a restore will do, found out by the pod that will do it, and shown before anything is changed. */
import { z } from "zod";
import type { Cluster } from "./cluster.ts";
import { inService } from "./database.ts";
import { runJob, type Run } from "./jobs.ts";
import { message, say, UserError } from "./system.ts";

/** What `make restore` is told. */
export interface Request {
  /** `latest`, or a backup as `<kind>/<timestamp>`; with `toTime` a base backup, or empty. */
  readonly from: string;
  /** Moment to recover to, in ISO 8601 with a time zone; empty: what the backup holds. */
  readonly toTime: string;
}

export interface RestoreRequest extends Request {
  /** Without it only the plan is shown. */
  readonly confirmed: boolean;
  readonly stack: string;
}

/** Where the data comes from, and who fetches it. */
export interface Source {
  /** For people. */
  readonly name: string;
  /** Tells the job what to look for. */
  readonly env: Readonly<Record<string, string>>;
  readonly job: Pick<Run, "namespace" | "source">;
  /** The moment to recover to; a dump has its own. */
  readonly moment?: string;
}

export interface Plan {
  /** For people. */
  readonly what: string;
  /** What `make restore` is given to do just this. */
  readonly variable: string;
  readonly env: Source["env"];
  readonly job: Source["job"];
  /** What was written after it will be in the old generation only. */
  readonly moment: string;
  readonly databaseBytes: number;
  readonly details: readonly string[];
}

const timeWithZone = z.iso.datetime({ offset: true });

/** @throws {UserError} when the request cannot be meant, before any cluster is asked. */
export function sourceOf({ from, toTime }: Request, now: Date): Source {
  if (toTime !== "") {
    const named = from !== "" && from !== "latest";
    if (named && !/^base\/\d{8}T\d{6}Z$/.test(from))
      throw new UserError(
        `FROM is "${from}" and TO_TIME is set: a moment is recovered to from a base backup, so name one as base/<timestamp>, or ` +
          `leave FROM out for the newest before the moment.`,
      );
    const moment = new Date(toTime);
    if (!timeWithZone.safeParse(toTime).success)
      throw new UserError(
        `TO_TIME is "${toTime}" and may be a time with its zone: make restore TO_TIME=2026-01-01T00:07:00Z`,
      );
    if (moment > now)
      throw new UserError(`TO_TIME is ${toTime}, which is yet to come: it is ${now.toISOString()}.`);
    return {
      name: `the database at ${moment.toISOString()}`,
      env: { MOMENT: moment.toISOString(), ...(named && { FROM: from }) },
      job: { namespace: "data", source: "cronjob/backup-recover" },
      moment: moment.toISOString(),
    };
  }
  if (!/^(latest|[a-z]+\/\d{8}T\d{6}Z)$/.test(from))
    throw new UserError(
      `FROM is "${from}" and may be latest, or a backup as <kind>/<timestamp>: make restore FROM=hourly/20260101T000700Z`,
    );
  return {
    name: from === "latest" ? "the newest backup" : from,
    env: { FROM: from },
    job: { namespace: "data", source: "cronjob/backup-restore" },
  };
}

/** What the pod that will restore says of a dump or of a moment: it has the key, and sees the container. */
interface Found {
  readonly backup: string;
  readonly verified: boolean;
  readonly dumpBytes: number;
  readonly databaseBytes: number;
  readonly takenAt: string;
  readonly tables: number;
  readonly rows: number;
  readonly schemaVersion: string | null;
  readonly baseAt: string;
  readonly archivedTo: string;
}

/** @throws {UserError} with the reason why it cannot be restored. */
export async function makePlan(cluster: Cluster, source: Source, stamp: string): Promise<Plan> {
  say(`Looking at ${source.name}, and reading all of its backup…`);
  const { env, job } = source;
  try {
    const name = `restore-plan-${stamp}`;
    const found = await runJob({ cluster, ...job, name, env: { ...env, STEP: "plan" } });
    return planOf(source, found as unknown as Found);
  } catch (error) {
    throw new UserError(`${message(error)}\nNothing was changed.`);
  }
}

function planOf({ env, job, moment }: Source, found: Found): Plan {
  const { backup, databaseBytes } = found;
  const sizes = `${size(found.dumpBytes)}, database ${size(databaseBytes)}`;
  const common = { job, databaseBytes };
  if (moment !== undefined) {
    const proven = found.verified ? "recovered by a verification" : "not the newest verified one";
    return {
      ...common,
      what: `the database at ${moment}`,
      variable: `FROM=${backup} TO_TIME=${moment}`,
      env: { ...env, FROM: backup },
      moment,
      details: [
        `from ${backup}, complete ${found.baseAt}, ${sizes}; ${proven}`,
        `and the log since, archived to ${found.archivedTo}`,
      ],
    };
  }
  const minutes = Math.round((Date.now() - Date.parse(found.takenAt)) / 60_000);
  const proven = found.verified ? "restored and compared by a verification" : "not the newest verified one";
  return {
    ...common,
    what: backup,
    variable: `FROM=${backup}`,
    env: { FROM: backup },
    moment: found.takenAt,
    details: [
      `taken ${found.takenAt} (${minutes} min ago); ${proven}`,
      `${found.tables} tables, ${found.rows} rows, schema ${found.schemaVersion ?? "none"}, dump ${sizes}`,
    ],
  };
}

/** Room for the restored data, and as much again for the log of writing it. */
const roomFactor = 2;

/** A server whose disk is full serves nobody: that must not be found out half-way. */
export function checkRoom({ databaseBytes }: Plan, free: number): void {
  const needed = databaseBytes * roomFactor;
  if (free >= needed) return;
  throw new UserError(
    `The volume of the Postgres primary has ${size(free)} left, and the restored database needs ${size(needed)} beside the one ` +
      `in service. Drop generations that are no longer needed, or raise groundwork:postgres.storageGiB. Nothing was changed.`,
  );
}

export function describe(plan: Plan, context: string, aside: string): string {
  return `
Restore ${plan.what} on ${context}
  ${plan.details.join("\n  ")}

  1. stop           the database closes; the service answers 503 from here on
  2. restore        into a new database beside it
  3. check          rows per table, constraints, schema: against what was dumped or recovered, and checksums
  4. switch         the new database takes the name ${inService}; the old one stays aside as ${aside}
  5. start          queue and cache are emptied, migrations run, pods of app and workers start anew
  6. connectivity   the app says that it is ready

What was written since ${plan.moment} will be in ${aside} only.
If a step before the switch fails, the old database is opened again and serves as it did.`;
}

/** Bytes for people. */
export function size(bytes: number): string {
  const [unit, label] = bytes < 1 << 30 ? [1 << 20, "MiB"] : [1 << 30, "GiB"];
  return `${(bytes / unit).toFixed(1)} ${label}`;
}
