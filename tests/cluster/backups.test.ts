import { afterEach, expect, test } from "vitest";
import { Client, createDocument, removeDocument, runJob, tenants, type JobRun } from "./support.ts";

/** Runs Python in a pod that reaches the backups; `container` is their store. */
function inStore(lines: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<JobRun> {
  const program = [
    "import json, os, sys",
    "sys.path.insert(0, '/etc/groundwork/backup')",
    "from common import Backup, open_container",
    "container = open_container()",
    ...lines,
    "print(json.dumps({'done': True}))",
  ];
  return runJob("data", "cronjob/backup-verify", { command: ["python3", "-c", program.join("\n")], env });
}

/** Puts a copy of a backup under `dumps/damaged/` with one bit of the dump turned over. */
const copyDamaged = [
  "good = Backup.parse(os.environ['BACKUP'])",
  "bad = Backup(timestamp=good.timestamp, kind='damaged')",
  "manifest = json.loads(container.download_blob(good.manifest).readall())",
  "dump = bytearray(container.download_blob(good.dump).readall())",
  "dump[len(dump) // 2] ^= 1",
  "container.upload_blob(bad.dump, bytes(dump))",
  "container.upload_blob(bad.manifest, json.dumps(manifest | {'dump': bad.dump, 'kind': bad.kind}))",
];
const removeDamaged = [
  "for blob in list(container.list_blobs(name_starts_with='dumps/damaged/')):",
  "    container.delete_blob(blob.name)",
];

/** When the backup that a job speaks of was made, in a form that sorts. */
function momentOf({ result }: JobRun): string {
  return String(result["backup"]).replace(/^.*\//, "");
}

afterEach(async () => {
  await inStore(removeDamaged);
});

test("a backup is made, restored whole, and one damaged bit in it is noticed", async () => {
  const client = new Client();
  const document = await createDocument(client, tenants[0]);
  const backup = await runJob("data", "cronjob/backup-hourly").finally(() =>
    removeDocument(client, tenants[0], document),
  );
  expect(backup).toMatchObject({ succeeded: true, result: { ok: true } });
  expect(backup.result["rows"]).toBeGreaterThan(0);
  const made = String(backup.result["backup"]);

  const restored = await runJob("data", "cronjob/backup-verify");
  expect(restored).toMatchObject({ succeeded: true, result: { ok: true } });
  expect(restored.result["rows"]).toBeGreaterThan(0);
  // The schedule may have made a newer one meanwhile.
  expect(momentOf(restored) >= momentOf(backup)).toBe(true);

  expect(await inStore(copyDamaged, { BACKUP: made })).toMatchObject({ succeeded: true });
  const damaged = made.replace("hourly/", "damaged/");
  const noticed = await runJob("data", "cronjob/backup-verify", { env: { BACKUP: damaged } });
  expect(noticed).toMatchObject({ succeeded: false, result: { ok: false, backup: damaged } });
  expect(noticed.result["message"]).toMatch(/^altered: .*checksum/);
});
