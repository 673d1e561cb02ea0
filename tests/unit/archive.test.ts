/** The server's `archive_command`, before a barman-cloud and a store that are told of. That what it sends can be recovered, the cluster's tests show. */
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { tool } from "./tools.ts";

const programs = join(import.meta.dirname, "../../k8s-manifests/patroni");
const system = "7301";
/**
 * `refused` are sent in vain, and of those the store has `held` already; `empty` is a store without its container, and `silent` one
 * that lists nothing.
 */
const oneCall = `
import json, sys
from pathlib import Path
from unittest.mock import MagicMock
sys.path.insert(0, sys.argv[1])
told = json.loads(sys.argv[2])
for name in ("zstandard", "azure.core.exceptions", "barman.clients.cloud_walarchive", "barman.cloud_providers"):
    sys.modules[name] = MagicMock()
errors = sys.modules["azure.core.exceptions"]
errors.AzureError = type("AzureError", (Exception,), {})
errors.ResourceNotFoundError = type("ResourceNotFoundError", (errors.AzureError,), {})
import archive
asked = []
def listed(name_starts_with, retry_total):
    if told["silent"]:
        raise errors.AzureError()
    names = [f"wal/{told['system']}/wals/{Path(path).name[:16]}/{Path(path).name}.zst" for path in told["held"]]
    return [name for name in names if name.startswith(name_starts_with)]
class Uploader:
    cloud_interface = MagicMock()
    cloud_interface.container_client.list_blob_names = listed
    def upload_wal(self, path):
        if told["empty"] and not self.cloud_interface.setup_bucket.called:
            raise errors.ResourceNotFoundError()
        asked.append(path)
        if path in told["refused"]:
            raise errors.AzureError()
uploader = Uploader()
archive.uploader = lambda system: uploader
archive.holds = lambda system, file: str(file) in told["held"]
archive.SECONDS = told["seconds"]
print(json.dumps({"done": archive.archive(told["system"], Path(told["path"])), "asked": asked}))
`;

let directory = "";
let data = "";

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "archive-"));
  data = join(directory, "main");
  mkdirSync(join(data, "pg_wal/archive_status"), { recursive: true });
});

afterEach(() => {
  rmSync(directory, { recursive: true });
});

const segment = (number: number) => `pg_wal/00000001000000000000000${number}`;

function mark(status: "ready" | "done", ...paths: readonly string[]): void {
  for (const path of paths)
    writeFileSync(join(data, path.replace("pg_wal/", "pg_wal/archive_status/")) + `.${status}`, "");
}
const ready = (...paths: readonly string[]): void => {
  mark("ready", ...paths);
};

interface Told {
  readonly refused?: readonly string[];
  readonly held?: readonly string[];
  readonly seconds?: number;
  readonly empty?: boolean;
  readonly silent?: boolean;
}

function call(
  path: string,
  { refused = [], held = [], seconds = 60, empty = false, silent = false }: Told = {},
): unknown {
  const told = JSON.stringify({ system, path, refused, held, seconds, empty, silent });
  const args = ["-B", "-c", oneCall, programs, told];
  return JSON.parse(
    execFileSync(tool("python3"), args, { cwd: data, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }),
  );
}

const notes = () => readdirSync(join(directory, "archived")).sort();
const noteOf = (path: string) => path.replace("pg_wal/", `${system}.`);

test("sends what waits behind the file that it was asked for, oldest first, with a note of each", () => {
  ready(segment(1), segment(3), segment(2));
  const behind = [segment(2), segment(3)];
  expect(call(segment(1))).toEqual({ done: true, asked: [segment(1), ...behind] });
  expect(notes()).toEqual(behind.map(noteOf));
  // Not again, while the server has not asked for them.
  ready(segment(4));
  expect(call(segment(1))).toEqual({ done: true, asked: [segment(1), segment(4)] });
});

test("is done when its file was sent, and notes nothing that was not", () => {
  ready(segment(1), segment(2), segment(3));
  expect(call(segment(1), { refused: [segment(2)] })).toEqual({
    done: true,
    asked: [segment(1), segment(2)],
  });
  expect(notes()).toEqual([]);
  expect(call(segment(2), { refused: [segment(2)] })).toEqual({ done: false, asked: [segment(2)] });
});

test("takes a file as sent that the store refuses as it has it already", () => {
  ready(segment(1), segment(2));
  const refused = [segment(1), segment(2)];
  expect(call(segment(1), { refused, held: refused })).toEqual({ done: true, asked: refused });
  expect(notes()).toEqual([noteOf(segment(2))]);
});

test("makes the container of an emulator, which starts empty", () => {
  ready(segment(1));
  expect(call(segment(1), { empty: true })).toEqual({ done: true, asked: [segment(1)] });
});

test("lets the server go on after some seconds", () => {
  ready(segment(1), segment(2));
  expect(call(segment(1), { seconds: -1 })).toEqual({ done: true, asked: [segment(1)] });
});

test("forgets what the server did not ask for, as another was the primary then", () => {
  ready(segment(1), segment(2));
  call(segment(1));
  rmSync(join(data, "pg_wal/archive_status"), { recursive: true });
  mkdirSync(join(data, "pg_wal/archive_status"));
  ready(segment(5));
  call(segment(5));
  expect(notes()).toEqual([]);
});

const history = "pg_wal/00000002.history";
const waiting = () =>
  readdirSync(join(data, "pg_wal/archive_status"))
    .filter((name) => name.endsWith(".ready"))
    .sort();

test("on becoming the primary sends what the one before it had not sent", () => {
  const label = `${segment(1)}.00000028.backup`;
  mark("done", segment(1), segment(2), segment(3), label);
  ready(history);
  expect(call(history, { held: [segment(1), segment(3)] })).toEqual({
    done: true,
    asked: [history, segment(2)],
  });
  // The server asks for it as well, and hears of the note.
  expect(waiting()).toEqual([`${segment(2).slice(7)}.ready`, `${history.slice(7)}.ready`]);
  expect(notes()).toEqual([noteOf(segment(2))]);
});

test("has the history asked for again while nobody knows what the store lacks", () => {
  mark("done", segment(1));
  ready(history);
  expect(call(history, { silent: true })).toEqual({ done: false, asked: [history] });
  expect(waiting()).toEqual([`${history.slice(7)}.ready`]);
});

test("leaves histories to the server, which asks for them first", () => {
  ready(segment(1), segment(2), history);
  expect(call(segment(1))).toEqual({ done: true, asked: [segment(1), segment(2)] });
});

test("sends its file where no note can be written", () => {
  ready(segment(1), segment(2));
  writeFileSync(join(directory, "archived"), "");
  expect(call(segment(1))).toEqual({ done: true, asked: [segment(1)] });
});

/** Runs archive.sh in a directory; only that of a server has a system identifier. */
function ask(path: string, cwd = data) {
  const bin = join(directory, "bin");
  mkdirSync(bin, { recursive: true });
  const command = (name: string, line: string) => {
    writeFileSync(join(bin, name), `#!/bin/sh\n${line}\n`);
    chmodSync(join(bin, name), 0o755);
  };
  command("pg_controldata", `test -d pg_wal && echo "Database system identifier:           ${system}"`);
  command("timeout", 'echo "$PWD $@"');
  const env = { ...process.env, PATH: `${bin}:${process.env["PATH"] ?? ""}` };
  return spawnSync("sh", [join(programs, "archive.sh"), path], { cwd, encoding: "utf8", env });
}

const sends = (path: string) =>
  `${data} --kill-after=1 16 python3 /etc/groundwork/patroni/archive.py ${system} ${path}\n`;

test("sends from the server's directory what Patroni hands over by its whole path", () => {
  expect(ask(join(data, segment(1)), directory)).toMatchObject({ status: 0, stdout: sends(segment(1)) });
});

test("sends nothing where no system identifier is told", () => {
  const { status, stdout, stderr } = ask(segment(1), directory);
  expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
  expect(stderr).toContain("tells no system identifier");
});

test("answers by a note once, and of another system's file by none", () => {
  mkdirSync(join(directory, "archived"));
  for (const name of [noteOf(segment(1)), noteOf(segment(2)).replace(system, "7302")])
    writeFileSync(join(directory, "archived", name), "");
  expect(ask(segment(1))).toMatchObject({ status: 0, stdout: "" });
  for (const path of [segment(1), segment(2)]) expect(ask(path).stdout).toBe(sends(path));
});
