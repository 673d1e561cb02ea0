/** P10: the stack's restore of a backup, against `pg_restore -j` of the same dump by hand. */
import { type Cluster } from "../cluster.ts";
import { createDatabase, dropDatabase, inService, inServiceSql, prefixes } from "../database.ts";
import { runJob } from "../jobs.ts";
import { withLock } from "../lock.ts";
import { say } from "../system.ts";
import { bars } from "./plot.ts";
import { atLeast, type Measured, ratios } from "./report.ts";
import { engineAndCluster } from "./running.ts";

const runs = 5;
const rows = 50_000;
const tenant = "bench-restore";
const job = { namespace: "data", source: "cronjob/backup-restore" } as const;

/** What somebody would type in the same pod: download, decrypt, pg_restore of all that this role may restore. */
const byHand = `
import sys, time
sys.path.insert(0, "/etc/groundwork/backup")
from restore import *
started = time.monotonic()
container = open_container()
backup = choose(container, setting("FROM"))
(SCRATCH / "dump.age").write_bytes(container.download_blob(backup.dump).readall())
age = ["age", "--decrypt", "--identity", str(SECRETS / "age-identity"), "--output", str(SCRATCH / "dump")]
subprocess.run([*age, str(SCRATCH / "dump.age")], check=True)
fetched = time.monotonic()
write_pgpass({setting("PGUSER"): "owner-password"})
mine, _ = split(entries(SCRATCH / "dump"))
(SCRATCH / "entries").write_text("\\n".join(mine) + "\\n")
arguments = ["--no-password", f"--jobs={RESTORE_JOBS}", f"--use-list={SCRATCH / 'entries'}"]
subprocess.run(["pg_restore", *arguments, "--dbname=" + setting("TARGET"), str(SCRATCH / "dump")], check=True)
log("by-hand", "info", "done", fetchSeconds=fetched - started, restoreSeconds=time.monotonic() - fetched)
`;

interface Seconds {
  readonly whole: number;
  /** Of pg_restore alone. */
  readonly restoring: number;
}

export async function measureRestore(): Promise<Measured> {
  const { cluster } = await engineAndCluster();
  return withLock("stack", async () => {
    say(`loading ${rows} documents, and a backup of them`);
    await inServiceSql(cluster, loading);
    try {
      const name = `bench-backup-${Date.now()}`;
      const made = await runJob({ cluster, namespace: "data", source: "cronjob/backup-hourly", name });
      return await compare(cluster, String(made["backup"]));
    } finally {
      await inServiceSql(cluster, unloading);
    }
  });
}

async function compare(cluster: Cluster, backup: string): Promise<Measured> {
  const [ours, hand]: [Seconds[], Seconds[]] = [[], []];
  for (let run = 1; run <= runs; run++) {
    say(`restore, ${run} of ${runs}`);
    for (const side of run % 2 === 0 ? (["hand", "ours"] as const) : (["ours", "hand"] as const)) {
      const seconds = await restoreOnce(cluster, backup, side);
      (side === "ours" ? ours : hand).push(seconds);
    }
  }
  const bytes = Number(await inServiceSql(cluster, `select pg_database_size('${inService}')`));
  const [whole, restoring] = [ours.map((one) => one.whole), ours.map((one) => one.restoring)];
  const [handWhole, handRestoring] = [hand.map((one) => one.whole), hand.map((one) => one.restoring)];
  const series = [
    { label: "our restore, with its checks", values: whole },
    { label: "by hand, without", values: handWhole },
    { label: "of ours, pg_restore", values: restoring },
    { label: "by hand, pg_restore", values: handRestoring },
  ];
  return {
    figures: [
      { what: "our restore: fetched, decrypted, restored, compared", unit: "s", values: whole },
      { what: "by hand: fetched, decrypted, restored", unit: "s", values: handWhole },
      {
        what: "P10: speed of ours ÷ by hand, all of it",
        unit: "ratio",
        values: ratios(handWhole, whole),
        target: atLeast(0.8),
      },
      { what: "our restore, `pg_restore` alone", unit: "s", values: restoring },
      { what: "by hand, `pg_restore` alone", unit: "s", values: handRestoring },
      {
        what: "speed of ours ÷ by hand, `pg_restore` alone",
        unit: "ratio",
        values: ratios(handRestoring, restoring),
      },
    ],
    notes: [
      `One backup of a database of ${Math.round(bytes / 2 ** 20)} MiB with ${rows} documents of this benchmark, in turn into a new database beside the one in ` +
        "service, which goes on. Both in a pod of `cronjob/backup-restore`, three `pg_restore` jobs, from the blob store; by hand " +
        "there is no checksum, no row-level security, no counting of rows and no look at constraints. The pods' start is not counted.",
    ],
    plots: [{ file: "restore.svg", title: "A restore", svg: bars("A restore", "s", series) }],
  };
}

async function restoreOnce(cluster: Cluster, backup: string, side: "ours" | "hand"): Promise<Seconds> {
  const database = `${prefixes.restored}bench`;
  const env = { STEP: "restore", FROM: backup, TARGET: database };
  const command = side === "hand" ? { command: ["python3", "-c", byHand] } : {};
  await dropDatabase(cluster, database);
  await createDatabase(cluster, database);
  try {
    const name = `bench-restore-${Date.now()}`;
    const said = await runJob({ cluster, ...job, name, env, ...command });
    const seconds = (key: string) => Number(said[key] ?? 0);
    const restoring = seconds("restoreSeconds");
    return { restoring, whole: seconds("fetchSeconds") + restoring + seconds("checkSeconds") };
  } finally {
    await dropDatabase(cluster, database);
  }
}

const unloading = `delete from documents where tenant_id = (select id from tenants where name = '${tenant}')`;
const loading = `
  insert into tenants (id, name) values (gen_random_uuid(), '${tenant}') on conflict (name) do nothing;
  ${unloading};
  insert into documents (tenant_id, title, content, created_by)
    select id, 'Loaded ' || number, repeat(md5(number::text) || ' ', 8), 'bench'
    from tenants, generate_series(1, ${rows}) number where name = '${tenant}'`;
