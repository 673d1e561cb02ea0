import { afterEach, expect, test } from "vitest";
import { Client, createDocument, kubectl, removeDocument, runJob, tenants, type JobRun } from "./support.ts";

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

/** Puts a copy of a backup under `dumps/damaged/`, of which `damage` changes `dump` or `manifest`. */
const copyDamaged = (damage: readonly string[]): string[] => [
  "import hashlib, subprocess",
  "good = Backup.parse(os.environ['BACKUP'])",
  "bad = Backup(timestamp=good.timestamp, kind='damaged')",
  "manifest = json.loads(container.download_blob(good.manifest).readall()) | {'dump': bad.dump, 'kind': bad.kind}",
  "dump = bytearray(container.download_blob(good.dump).readall())",
  ...damage,
  "if dump: container.upload_blob(bad.dump, bytes(dump), overwrite=True)",
  "container.upload_blob(bad.manifest, json.dumps(manifest), overwrite=True)",
];
/** The whole dump, well-formed, to a key that nobody here has. */
const encryptElsewhere = [
  "key = subprocess.run(['age-keygen'], capture_output=True, text=True, check=True).stdout",
  "recipient = key.split('public key: ')[1].split()[0]",
  "dump = subprocess.run(['age', '-r', recipient], input=bytes(dump), capture_output=True, check=True).stdout",
  "manifest['encrypted'] = {'sha256': hashlib.sha256(dump).hexdigest(), 'bytes': len(dump)}",
  "manifest['recipient'] = recipient",
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
    backup = await runJob("data", "cronjob/backup-hourly");
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

  const damages = [
    { damage: ["dump[len(dump) // 2] ^= 1"], reason: /^altered: .*checksum/ },
    { damage: ["del dump[len(dump) // 2:]"], reason: /^truncated: .* bytes of the/ },
    { damage: ["dump = None"], reason: /^missing: .*though its manifest is/ },
    {
      damage: ["manifest['tables']['public.documents'] += 1"],
      reason: /^different: .*public.documents: \d+ rows restored/,
    },
    { damage: encryptElsewhere, reason: /^foreign key: .*manifest names age1/ },
  ];
  const damaged = made.replace("hourly/", "damaged/");
  for (const { damage, reason } of damages) {
    const program = [...removeDamaged, ...copyDamaged(damage)];
    expect(await inStore(program, { BACKUP: made })).toMatchObject({ succeeded: true });
    const noticed = await runJob("data", "cronjob/backup-verify", { env: { BACKUP: damaged } });
    expect(noticed).toMatchObject({ succeeded: false, result: { ok: false, backup: damaged } });
    expect(noticed.result["message"]).toMatch(reason);
  }
});

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
