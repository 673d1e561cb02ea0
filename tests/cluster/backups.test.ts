import { afterEach, expect, test } from "vitest";
import { damaged, damages, holed, inStore, mended, removed } from "./backupStore.ts";
import {
  Client,
  createDocument,
  inDatabase,
  kubectl,
  postgresPrimary,
  removeDocument,
  runJob,
  tenants,
  waitFor,
  type JobRun,
} from "./support.ts";

/** When the backup that a job speaks of was made, in a form that sorts. */
function momentOf({ result }: JobRun): string {
  return String(result["backup"]).replace(/^.*\//, "");
}

afterEach(async () => {
  await removed("dumps/damaged/");
});

test("a new stack has made its first base backup by itself", async () => {
  const done = ["--for=condition=complete", "job/backup-base-first", "--timeout=240s"];
  await kubectl("wait", "--namespace=data", ...done);
  const log = await kubectl("logs", "--namespace=data", "job/backup-base-first");
  expect(JSON.parse(log.trim().split("\n").at(-1) ?? "")).toMatchObject({ ok: true });
});

test("a backup is made, restored whole, and what is wrong with a damaged copy of it is noticed", async () => {
  const client = new Client();
  const document = await createDocument(client, tenants[0]);
  let backup: Awaited<ReturnType<typeof runJob>>;
  try {
    backup = await runJob("data", "cronjob/backup-daily");
  } finally {
    await removeDocument(client, tenants[0], document);
  }
  expect(backup).toMatchObject({ succeeded: true, result: { ok: true } });
  expect(backup.result["rows"]).toBeGreaterThan(0);
  const made = String(backup.result["backup"]);

  const restored = await runJob("data", "cronjob/backup-verify");
  expect(restored).toMatchObject({ succeeded: true, result: { ok: true } });
  expect(restored.result["rows"]).toBeGreaterThan(0);
  // The schedule may have made a newer one meanwhile.
  expect(momentOf(restored) >= momentOf(backup)).toBe(true);

  const copy = made.replace("daily/", "damaged/");
  for (const damage of damages) {
    await removed("dumps/damaged/");
    expect(await damaged(damage, made, copy)).toMatchObject({ succeeded: true });
    const verified = await runJob("data", "cronjob/backup-verify", { env: { BACKUP: copy } });
    expect(verified).toMatchObject({ succeeded: false, result: { ok: false, backup: copy } });
    expect(verified.result["message"]).toMatch(damage.noticed);
  }
});

test("what the archive got behind by is sent whole, without the server's asking a second time", async () => {
  const primary = await postgresPrimary();
  const failures = () => inDatabase(primary, "select failed_count from pg_stat_archiver");
  const before = await failures();
  const one = "select pg_logical_emit_message(false, 'cluster-tests', repeat(md5(random()::text), 40000))";
  const file = "select pg_walfile_name(pg_switch_wal())";
  const rows = await inDatabase(primary, Array.from({ length: 20 }, () => `${one}; ${file};`).join(" "));
  const written = rows.flat().filter((value) => /^[0-9A-F]{24}$/.test(value));
  expect(new Set(written).size).toBe(20);
  const last = written.at(-1) ?? "";
  await waitFor("the last of them in the archive", 120, async () => {
    const archived = `select last_archived_wal >= '${last}' from pg_stat_archiver`;
    expect(await inDatabase(primary, archived)).toEqual([["t"]]);
  });
  expect(await failures()).toEqual(before);
  const system = await inDatabase(primary, "select system_identifier from pg_control_system()");
  const program = [
    "import zstandard",
    "files = json.loads(os.environ['FILES'])",
    "names = [f\"wal/{os.environ['SYSTEM']}/wals/{file[:16]}/{file}.zst\" for file in files]",
    "sent = [container.download_blob(name).readall() for name in names]",
    "sizes = {len(zstandard.ZstdDecompressor().decompressobj().decompress(one)) for one in sent}",
    "if sizes != {16 * 1024 * 1024}: sys.exit(f'of {sizes} bytes')",
  ];
  const env = { FILES: JSON.stringify(written), SYSTEM: system.flat().join() };
  expect(await inStore(program, env)).toMatchObject({ succeeded: true });
}, 240_000);

test("a base backup is recovered with all of the log, and not where a segment is missing or cannot be read", async () => {
  const recovered = () => runJob("data", "cronjob/backup-verify-base", {}, 240);
  // The log since an older one may be long.
  expect(await runJob("data", "cronjob/backup-base")).toMatchObject({ succeeded: true });
  for (const [hole, noticed] of [
    ["missing", /missing: segment [0-9A-F]{24} of the log/],
    ["damaged", /not (archived|recoverable): /],
  ] as const) {
    try {
      await waitFor("a segment in the middle of the log", 120, async () => {
        await inDatabase(await postgresPrimary(), "select pg_switch_wal()");
        expect(await holed(hole)).toMatchObject({ succeeded: true });
      });
      const stopped = await recovered();
      expect(stopped).toMatchObject({ succeeded: false });
      expect(stopped.result["message"]).toMatch(noticed);
    } finally {
      await mended();
    }
  }
  expect(await recovered()).toMatchObject({ succeeded: true, result: { ok: true } });
}, 900_000);

test("backups past their time are deleted, the newest verified one and those before their time are not", async () => {
  const backup = await runJob("data", "cronjob/backup-hourly");
  const verified = await runJob("data", "cronjob/backup-verify");
  expect(verified).toMatchObject({ succeeded: true });
  const old = [
    "for kind, moment in (('damaged', '20200101T000000Z'), ('damaged', '20200102T000000Z')):",
    "    backup = Backup(timestamp=moment, kind=kind)",
    "    container.upload_blob(backup.dump, b'old')",
    "    if moment < '20200102': container.upload_blob(backup.manifest, '{}')",
  ];
  expect(await inStore(old)).toMatchObject({ succeeded: true });
  const retention = await runJob("data", "cronjob/backup-retention");
  expect(retention).toMatchObject({ succeeded: true, result: { ok: true } });
  const left = await inStore([
    "names = [blob.name for blob in container.list_blobs(name_starts_with='dumps/')]",
    "print(json.dumps({'names': names}))",
    "sys.exit(0)",
  ]);
  const names = String(left.result["names"]);
  expect(names).not.toContain("damaged");
  for (const { result } of [backup, verified])
    expect(names).toContain(`${String(result["backup"])}.dump.age`);
});
