/** A machine that lacks a tool: what is said must tell what to install. */
import { execFile } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { comesWith, findCommand, run, tryRun, UserError } from "../../local/system.ts";

const root = join(import.meta.dirname, "../..");
let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "groundwork-lacking-"));
});
afterAll(async () => {
  await rm(directory, { recursive: true });
});

describe("a tool that is missing", () => {
  test.each(Object.entries(comesWith))("%s: is named with what it comes with", async (tool, source) => {
    const lacking = run(tool, ["--version"], { env: { PATH: directory } });
    await expect(lacking).rejects.toThrow(UserError);
    await expect(lacking).rejects.toThrow(
      `${tool} is not on this machine, or not on PATH. Install ${source}`,
    );
  });

  test("is no error where it was only asked whether it is there", async () => {
    const path = process.env["PATH"];
    process.env["PATH"] = directory;
    try {
      expect(await tryRun("docker", ["info"])).toBeUndefined();
    } finally {
      process.env["PATH"] = path;
    }
  });

  test("is not what is said when the directory is missing", async () => {
    const nowhere = join(directory, "nowhere");
    await expect(run("git", ["status"], { cwd: nowhere })).rejects.not.toThrow(UserError);
  });

  test("has a message, whichever of those that local/ starts it is", () => {
    const started = globSync("local/**/*.ts", { cwd: root }).flatMap((file) =>
      [
        ...readFileSync(join(root, file), "utf8").matchAll(
          /\b(?:run|tryRun|spawn|execFile)\(\s*"([\w.-]+)"/g,
        ),
      ].map(([, name = ""]) => name),
    );
    expect(started.length).toBeGreaterThan(20);
    expect([...new Set(started)].filter((name) => !(name in comesWith))).toEqual([]);
    expect(Object.keys(comesWith).filter((name) => !started.includes(name))).toEqual([]);
  });

  test("Node and npm: the way in says so before anything else, and installs nothing", async () => {
    for (const tool of ["bash", "dirname", "uname", "tr", "cksum", "env"]) {
      await symlink((await findCommand(tool)) ?? "", join(directory, tool));
    }
    const env = { PATH: directory, HOME: directory };
    const said = await new Promise<{ code: unknown; stderr: string }>((resolve) => {
      execFile(join(root, "local/groundwork"), ["status"], { env }, (error, _, stderr) => {
        resolve({ code: error?.code, stderr });
      });
    });
    expect(said.code).toBe(1);
    expect(said.stderr).toMatch(/Groundwork needs Node 24 .*Install Node, then run this again/);
  });

  test("a command is found on PATH, but not in the directory whose programs call it", async () => {
    const [first, second] = [join(directory, "first"), join(directory, "second")];
    for (const place of [first, second]) {
      await mkdir(place);
      await writeFile(join(place, "called"), "#!/bin/sh\n", { mode: 0o755 });
    }
    vi.stubEnv("PATH", `${first}:${second}`);
    expect(await findCommand("called")).toBe(join(first, "called"));
    expect(await findCommand("called", first)).toBe(join(second, "called"));
    vi.unstubAllEnvs();
  });
});
