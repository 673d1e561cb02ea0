/** What the daily recovery of a base backup asks of the server, without a store and a server; `tests/cluster` has both. */
import { join } from "node:path";

import { expect, test } from "vitest";

import { runTool } from "./tools.ts";

const program = `
import json, sys
from datetime import UTC, datetime
from unittest.mock import MagicMock
sys.path.insert(0, sys.argv[1])
for name in ("psycopg2", "psycopg2.extensions", "psycopg2.extras", "azure.core.exceptions", "azure.storage.blob"):
    sys.modules[name] = MagicMock()
for module, names in (("psycopg2", ["Error"]), ("azure.core.exceptions", ["AzureError", "ResourceExistsError"])):
    for name in names:
        setattr(sys.modules[module], name, type(name, (Exception,), {}))
import recover
from common import BASE, Backup
from segments import LogRange

given = json.loads(sys.argv[2])
done = {}
recover.choose = lambda container, moment: (Backup("20260101T000000Z", BASE), {})
recover.read_range = lambda container, backup: LogRange("7", given["first"], given["last"])
recover.segments_of = lambda container, system: dict.fromkeys(given["present"], datetime.now(UTC))
recover.record = lambda container, folder, result: done.update(result)
def recovered(container, backup, manifest, target, dump=None):
    done["target"] = target
    return {"tables": {"public.documents": 3}}
recover.recover = recovered
try:
    recover.verify(None)
except recover.BackupError:
    pass
print(json.dumps(done))
`;

function verified(present: readonly string[], last: string): unknown {
  const programs = join(import.meta.dirname, "../../k8s-manifests/backup");
  const given = JSON.stringify({ first: segment(2), last, present });
  const { output } = runTool("python3", ["-B", "-c", program, programs, given]);
  return JSON.parse(output);
}

const segment = (number: number): string =>
  `0000000100000000${number.toString(16).padStart(8, "0").toUpperCase()}`;
const backup = "base/20260101T000000Z";

test("the server has to get to the newest segment of the log, wherever one is missing before it", () => {
  expect(verified([2, 3, 4].map(segment), segment(2))).toEqual({
    ok: true,
    backup,
    rows: 3,
    target: { recovery_target_lsn: "0/4000000" },
  });
});

test("a log that ends with the base backup itself is recovered to its end", () => {
  expect(verified([1, 2].map(segment), segment(2))).toMatchObject({ ok: true, target: {} });
});

test("a hole in the log is named, and nothing is recovered", () => {
  const reason = `missing: segment ${segment(3)} of the log is not in wal/7/, and ${backup} needs it`;
  expect(verified([2, 4].map(segment), segment(2))).toEqual({ ok: false, backup, reason });
});
