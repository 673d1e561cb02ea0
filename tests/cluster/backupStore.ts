/** What somebody who can write to the store of the backups may do to them. */
import { runJob, type JobRun } from "./support.ts";

/** Runs Python in a pod that reaches the backups; `container` is their store. */
export function inStore(
  lines: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<JobRun> {
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

/** The whole dump, well-formed, to a key that nobody here has. */
const encryptElsewhere = [
  "key = subprocess.run(['age-keygen'], capture_output=True, text=True, check=True).stdout",
  "recipient = key.split('public key: ')[1].split()[0]",
  "dump = subprocess.run(['age', '-r', recipient], input=bytes(dump), capture_output=True, check=True).stdout",
  "manifest['encrypted'] = {'sha256': hashlib.sha256(dump).hexdigest(), 'bytes': len(dump)}",
  "manifest['recipient'] = recipient",
];

export interface Damage {
  /** Changes `dump` or `manifest`. */
  readonly lines: readonly string[];
  /** What a verification and a restore say of it. */
  readonly noticed: RegExp;
  /** Its bytes are those of its manifest: a restore finds out with the service closed, otherwise before that. */
  readonly closes?: true;
}

export const damages: readonly Damage[] = [
  { lines: ["dump[len(dump) // 2] ^= 1"], noticed: /altered: .*checksum/ },
  { lines: ["del dump[len(dump) // 2:]"], noticed: /truncated: .* bytes of the/ },
  { lines: ["dump = None"], noticed: /missing: .*though its manifest is/ },
  {
    lines: ["manifest['tables']['public.documents'] += 1"],
    noticed: /different: .*public.documents: \d+ rows restored/,
    closes: true,
  },
  { lines: encryptElsewhere, noticed: /foreign key: .*manifest names age1/ },
];

/** Puts the backup of this label, damaged, where the other label names: both may be the same. */
export function damaged({ lines }: Damage, backup: string, put: string): Promise<JobRun> {
  const program = [
    "import hashlib, subprocess",
    "good, bad = (Backup.parse(os.environ[name]) for name in ('GOOD', 'BAD'))",
    "manifest = json.loads(container.download_blob(good.manifest).readall()) | {'dump': bad.dump, 'kind': bad.kind}",
    "dump = bytearray(container.download_blob(good.dump).readall())",
    ...lines,
    "container.upload_blob(bad.dump, bytes(dump or b''), overwrite=True)",
    "if not dump: container.delete_blob(bad.dump)",
    "container.upload_blob(bad.manifest, json.dumps(manifest), overwrite=True)",
  ];
  return inStore(program, { GOOD: backup, BAD: put });
}

/** Deletes every blob of this prefix. */
export function removed(prefix: string): Promise<JobRun> {
  const program = [
    "for blob in list(container.list_blobs(name_starts_with=os.environ['PREFIX'])):",
    "    container.delete_blob(blob.name)",
  ];
  return inStore(program, { PREFIX: prefix });
}

/** Takes away what the log holds of the first segment after the newest base backup, which is not the newest of the log. */
export function holed(hole: "missing" | "damaged"): Promise<JobRun> {
  const program = [
    "from archive import archived, read_range",
    "from holdings import take_base_stock",
    "needed = read_range(container, max(take_base_stock(container).complete))",
    "whole = [file for file in archived(container, f'wal/{needed.system}/') if file.whole and file.segment > needed.last]",
    "if len(whole) < 2: sys.exit('the log has no such segment yet')",
    "name = min(whole, key=lambda file: file.segment).name",
    "container.upload_blob(f'held/{name}', container.download_blob(name).readall(), overwrite=True)",
    "container.delete_blob(name)",
    "if os.environ['HOLE'] == 'damaged': container.upload_blob(name, b'no segment')",
  ];
  return inStore(program, { HOLE: hole });
}

/** Puts back what was taken away, if anything was. */
export function mended(): Promise<JobRun> {
  return inStore([
    "for held in list(container.list_blobs(name_starts_with='held/')):",
    "    content = container.download_blob(held.name).readall()",
    "    container.upload_blob(held.name.removeprefix('held/'), content, overwrite=True)",
    "    container.delete_blob(held.name)",
  ]);
}
