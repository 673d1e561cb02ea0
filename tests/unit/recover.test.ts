/** What the daily recovery of a base backup asks of the server, without a store and a server; `tests/cluster` has both. */
import { describe, expect, test } from "vitest";
import { z } from "zod";

import { inPrograms } from "./backupPrograms.ts";

/** Only files are real: `asked` has what the server and its programs were told. */
const serverless = `
import os, tempfile
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock
import recover
from common import BASE, Backup
from segments import LogRange

asked, done = [], {}
os.environ |= {"DATABASE": "app", "MIGRATIONS_TABLE": "migrations"}
recover.SCRATCH = Path(tempfile.mkdtemp())
recover.DATA, recover.DUMP = recover.SCRATCH / "data", recover.SCRATCH / "dump"
recover.fetch = lambda container, backup, manifest: recover.DATA.mkdir()
recover.configure = lambda manifest, target: done.update(target=target)
recover.recovered_server = nullcontext
recover.sql = SimpleNamespace(SQL=str, Identifier='"{}"'.format)
def connect(database):
    asked.append(database)
    return MagicMock(**{"cursor.return_value.__enter__.return_value.execute": asked.append})
recover.connect = connect
recover.take_inventory = lambda cursor, table: {"tables": {"public.documents": 3}}
def command(*arguments):
    asked.append(arguments[0])
    if given.get("full"):
        raise recover.BackupError("full")
    recover.DUMP.write_text("dump")
    return SimpleNamespace(returncode=0)
recover.command = command
`;

const verification = `
${serverless}
recover.choose = lambda container, moment: (Backup("20260101T000000Z", BASE), {})
recover.read_range = lambda container, backup: LogRange("7", given["first"], given["last"])
recover.segments_of = lambda container, system: dict.fromkeys(given["present"], datetime.now(UTC))
recover.record = lambda container, folder, result: done.update(result)
try:
    recover.verify(None)
except recover.BackupError:
    pass
print(json.dumps(done | {"asked": asked, "left": os.listdir(recover.SCRATCH)}))
`;

const segment = (number: number): string => `00000001000000000000000${number}`;
const backup = "base/20260101T000000Z";

function verified(present: readonly number[], full = false): unknown {
  return inPrograms(verification, {
    first: segment(2),
    last: segment(2),
    present: present.map(segment),
    full,
  });
}

const bases = ["20260101T000000Z", "20260102T000000Z", "20260103T000000Z"];

const stored = `
import os
from datetime import datetime
from types import SimpleNamespace
from unittest.mock import MagicMock
import recover
from common import BASE, Backup

backups = [Backup(taken, BASE) for taken in given["bases"]]
recover.take_base_stock = lambda container: SimpleNamespace(complete=dict.fromkeys(backups, 1), verified=None)
def manifest(backup):
    told = dict.fromkeys(["recipient", "system", "firstSegment", "lastSegment", "plainBytes"], "")
    finished = {"finishedAt": backup.taken_at.isoformat(), "dump": backup.dump, "encrypted": {"sha256": "", "bytes": 1}}
    return told | finished
bodies = {backup.manifest: json.dumps(manifest(backup)) for backup in backups} | given["damaged"]
class Container:
    def download_blob(self, name):
        return MagicMock(readall=lambda: bodies[name])
logged = []
recover.log = lambda module, level, message: logged.append(f"{level}: {message}")
def tell(base):
    try:
        chosen = base()
    except recover.BackupError as error:
        chosen = str(error)
    print(json.dumps({"chosen": chosen, "logged": logged}))
`;

const choice = `${stored}
moment = given["moment"] and datetime.fromisoformat(given["moment"])
tell(lambda: recover.choose(Container(), moment)[0].label)
`;

const planning = `${stored}
os.environ |= {"MOMENT": given["moment"], "FROM": given["from"]}
def download(container, backup, expected, target):
    if backup.dump in given["damaged"]:
        raise recover.BackupError(f"altered: {backup.dump}")
recover.download = download
recover.check_key = lambda container, backup, manifest: None
recover.check_log = lambda container, backup, moment: moment
tell(lambda: recover.plan(Container())["backup"])
`;

const outcome = z.object({ chosen: z.string(), logged: z.array(z.string()) });
type Damaged = Readonly<Record<string, string>>;

const choose = (moment: string | null, damaged: Damaged = {}) =>
  outcome.parse(inPrograms(choice, { bases, moment, damaged }));

const plan = (moment: string, from = "", damaged: Damaged = {}) =>
  outcome.parse(inPrograms(planning, { bases, moment, from, damaged })).chosen;

const brokenOff = `
import os, tempfile
from pathlib import Path
import recover
from common import BASE, Backup

recover.SCRATCH = Path(tempfile.mkdtemp())
recover.DATA = recover.SCRATCH / "data"
# In the place of age, which reads to the end, too.
(recover.SCRATCH / "age").write_text("#!/bin/sh\\nexec cat\\n")
(recover.SCRATCH / "age").chmod(0o755)
os.environ["PATH"] = f"{recover.SCRATCH}:{os.environ['PATH']}"
class Container:
    def download_blob(self, name):
        return self
    def chunks(self):
        yield b"the beginning"
        raise ConnectionError("the store went away")
try:
    recover.fetch(Container(), Backup("20260101T000000Z", BASE), {"encrypted": {"sha256": ""}})
except ConnectionError as error:
    print(json.dumps(str(error)))
`;

// Each starts Python, which a busy machine does slowly.
describe("the daily recovery", { timeout: 30_000 }, () => {
  test("the server has to get to the newest segment of the log", () => {
    const target = { recovery_target_lsn: "0/4000000" };
    expect(verified([2, 3, 4])).toMatchObject({ ok: true, backup, rows: 3, target });
  });

  test("a log that ends with the base backup itself is recovered to its end", () => {
    expect(verified([1, 2])).toMatchObject({ ok: true, target: {} });
  });

  test("a hole in the log is named, and nothing is recovered", () => {
    const reason = `missing: segment ${segment(3)} of the log is not in wal/7/, and ${backup} needs it`;
    expect(verified([2, 4])).toEqual({ ok: false, backup, reason, asked: [], left: [] });
  });

  test("makes a dump beside the server's files, as a restore does, and leaves nothing of it", () => {
    expect(verified([2])).toMatchObject({ ok: true, left: [] });
    expect(verified([2], true)).toMatchObject({ ok: false, reason: "full" });
  });

  test("lets itself into the database, which a restore that was on at the moment had closed", () => {
    const opening = 'ALTER DATABASE "app" WITH ALLOW_CONNECTIONS true';
    expect(verified([2])).toMatchObject({ ok: true, asked: ["postgres", opening, "app", "pg_dump"] });
  });

  test("a store that goes away while the backup comes ends it, with the reason", () => {
    expect(inPrograms(brokenOff, {})).toBe("the store went away");
  });
});

describe("a restore to a moment", { timeout: 30_000 }, () => {
  const newest = { "base/20260103T000000Z.json": "[]" };

  test("begins with the newest base backup that was complete then", () => {
    expect(choose("2026-01-02T12:00:00Z")).toEqual({ chosen: "base/20260102T000000Z", logged: [] });
    const none = /no base backup is as old as .*; the first is base\/20260101T000000Z,/;
    expect(choose("2025-12-31T00:00:00Z").chosen).toMatch(none);
  });

  test("passes over one whose manifest is damaged, and says so", () => {
    const { chosen, logged } = choose("2026-01-02T12:00:00Z", { "base/20260102T000000Z.json": "no JSON" });
    expect(chosen).toBe("base/20260101T000000Z");
    expect(logged.join()).toMatch(/^warning: passed over base\/20260102T000000Z: altered: /);
    expect(choose("2026-01-01T12:00:00Z", newest).chosen).toBe("base/20260101T000000Z");
  });

  test("is refused where no manifest can be read", () => {
    const all = Object.fromEntries(bases.map((taken) => [`base/${taken}.json`, ""]));
    expect(choose("2026-01-04T00:00:00Z", all).chosen).toContain("no base backup that can be read");
  });

  test("begins with the base backup that is named", () => {
    const moment = "2026-01-02T12:00:00+00:00";
    expect(plan(moment)).toBe("base/20260102T000000Z");
    expect(plan(moment, "base/20260101T000000Z")).toBe("base/20260101T000000Z");
    expect(plan(moment, "base/20260103T000000Z")).toMatch(/was complete at .*, after .*: name an older one/);
    expect(plan(moment, "daily/20260101T000000Z")).toContain("names no base backup");
  });

  test("names the base backup before one that is damaged", () => {
    const dumps = Object.fromEntries(bases.map((taken) => [`base/${taken}.tar.gz.age`, ""]));
    const moment = "2026-01-02T12:00:00+00:00";
    const before = "FROM=base/20260101T000000Z begins with the one before";
    expect(plan(moment, "", dumps)).toBe(`altered: base/20260102T000000Z.tar.gz.age; ${before}`);
    const oldest = "altered: base/20260101T000000Z.tar.gz.age; there is no older one";
    expect(plan(moment, "base/20260101T000000Z", dumps)).toBe(oldest);
  });

  test("passes over nothing where it is a verification, which is to find just that", () => {
    expect(choose(null).chosen).toBe("base/20260103T000000Z");
    expect(choose(null, newest).chosen).toMatch(/^altered: /);
  });
});
