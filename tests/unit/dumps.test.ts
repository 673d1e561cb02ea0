/** Which dump is restored every day, and what every dump is checked for when it is made: by stand-ins of pg_dump, age and pg_restore. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, describe, expect, test } from "vitest";
import { z } from "zod";

import { inPrograms } from "./backupPrograms.ts";

const folder = mkdtempSync(join(tmpdir(), "groundwork-dumps-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

// Each starts Python, which a busy machine does slowly.
const timeout = 30_000;

describe("a day's verification", { timeout }, () => {
  const due = (...labels: string[]): unknown =>
    inPrograms(
      "from common import Backup\nfrom verify import due\nprint(json.dumps(due([Backup.parse(label) for label in given]).label))",
      labels,
    );

  test("restores the newest daily or weekly dump, although there are newer ones", () => {
    const tuesday = "daily/20260105T180000Z";
    expect(due("daily/20260104T180000Z", tuesday, "hourly/20260105T200700Z")).toBe(tuesday);
    const sunday = "weekly/20260103T190000Z";
    expect(due("daily/20260103T180000Z", sunday, "hourly/20260103T200700Z")).toBe(sunday);
  });

  test("restores an hourly one while there is no other", () => {
    expect(due("hourly/20260105T190700Z", "hourly/20260105T200700Z")).toBe("hourly/20260105T200700Z");
  });
});

test("all jobs of a restore build their indexes within half of the memory that a verification has by default", () => {
  const memory = inPrograms(
    "from verify import RESTORE_JOBS, SERVER_OPTIONS\nprint(json.dumps([RESTORE_JOBS, SERVER_OPTIONS]))",
    null,
  );
  const [jobs, options] = z.tuple([z.number(), z.record(z.string(), z.string())]).parse(memory);
  const megabytes = (name: string) => Number(/^(\d+)MB$/.exec(options[name] ?? "")?.[1]);
  expect(jobs * megabytes("maintenance_work_mem") + megabytes("shared_buffers")).toBeLessThanOrEqual(384 / 2);
  expect(options["max_parallel_maintenance_workers"]).toBe("0");
}, 30_000);

describe("a dump", { timeout }, () => {
  const megabytes = 3;
  const making = `
import os
from pathlib import Path
import backup
os.environ["PATH"] = given["programs"] + os.pathsep + os.environ["PATH"]
target = Path(given["programs"]) / "dump.age"
try:
    plain = backup.dump_encrypted("snapshot", "age1recipient", target)
    print(json.dumps({"bytes": plain["bytes"], "encrypted": target.stat().st_size}))
except backup.BackupError as error:
    print(json.dumps({"refused": str(error)}))
`;
  /** What comes of it, with a pg_restore that is this. */
  const made = (pgRestore: string): unknown => {
    const programs = {
      pg_dump: `head -c ${megabytes << 20} /dev/zero`,
      age: 'while [ "$1" != --output ]; do shift; done; cat >"$2"',
      pg_restore: pgRestore,
    };
    for (const [name, script] of Object.entries(programs)) {
      writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`);
      chmodSync(join(folder, name), 0o755);
    }
    return inPrograms(making, { programs: folder });
  };

  test("is whole although pg_restore goes once it has read the table of contents", () => {
    const bytes = megabytes << 20;
    expect(made("head -c 1000 >/dev/null")).toEqual({ bytes, encrypted: bytes });
    expect(made("cat >/dev/null")).toEqual({ bytes, encrypted: bytes });
  });

  test("that pg_restore cannot list is refused", () => {
    expect(made("head -c 1000 >/dev/null; exit 1")).toEqual({
      refused: "pg_restore cannot list the dump; its own message is in the line above",
    });
  });

  test("locks every table before it chooses the moment, or one that is then written anew would look empty", () => {
    const running = `
import backup
asked = []
cursor = MagicMock()
cursor.__enter__.return_value = cursor
cursor.execute.side_effect = lambda query, *_: asked.append(str(query))
cursor.fetchall.return_value = [("public", "documents"), ("public", "jobs")]
cursor.fetchone.return_value = ("name",)
backup.sql.Identifier.side_effect = lambda *names: ".".join(names)
backup.sql.SQL.side_effect = lambda text: MagicMock(
    format=lambda part: text.format(part), join=lambda parts: text.join(parts))
connection = backup.psycopg2.connect.return_value
connection.cursor.return_value = cursor
connection.rollback.side_effect = lambda: asked.append("rollback")
connection.set_session.side_effect = lambda **_: asked.append("repeatable read")
with backup.snapshot() as (_, name):
    asked.append(name)
print(json.dumps(asked[1:]))
`;
    expect(inPrograms(running, {})).toEqual([
      "rollback",
      "repeatable read",
      expect.stringMatching(/^SET /),
      "SET row_security = off",
      "LOCK TABLE public.documents, public.jobs IN ACCESS SHARE MODE",
      "SELECT pg_export_snapshot()",
      "name",
    ]);
  });

  test("is no backup where the store gives back something else", () => {
    const running = `
import io
from contextlib import contextmanager
from pathlib import Path
import backup, common, verify
backup.SCRATCH = Path(given["folder"])
@contextmanager
def snapshot():
    yield None, "snapshot"
def dump_encrypted(name, recipient, target):
    target.write_bytes(b"dump")
    return {"sha256": "", "bytes": 4}
backup.snapshot, backup.dump_encrypted = snapshot, dump_encrypted
backup.take_inventory = lambda cursor, table: {"tables": {}}
backup.write_pgpass = lambda entries: None
backup.setting = lambda name: "hourly" if name == "BACKUP_KIND" else name
container = MagicMock()
container.download_blob.return_value.chunks.return_value = [given["stored"].encode()]
backup.open_container = lambda: container
backup.log = lambda *values, **fields: None
refused = None
try:
    backup.run()
except backup.BackupError as error:
    refused = str(error).partition(":")[0]
names = [call.args[0] for call in container.upload_blob.call_args_list]
print(json.dumps({"refused": refused, "manifest": any(name.endswith(".json") for name in names)}))
`;
    const run = (stored: string) => inPrograms(running, { folder, stored });
    expect(run("dump")).toEqual({ refused: null, manifest: true });
    expect(run("bump")).toEqual({ refused: "altered", manifest: false });
    expect(run("du")).toEqual({ refused: "truncated", manifest: false });
  });
});
