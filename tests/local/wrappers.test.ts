/** What `make env` puts on PATH, on a machine that has as little as it may have. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { wrapperDirectory } from "../../local/stack.ts";
import { writeWrappers } from "../../local/wrappers.ts";

let directory: string;
const pulumi = (): string => join(directory, "pulumi");
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "groundwork-wrappers-"));
  vi.stubEnv("GROUNDWORK_CACHE", join(directory, "cache"));
  vi.stubEnv("PATH", directory);
  await writeFile(pulumi(), '#!/bin/sh\necho "pulumi $*"\n', { mode: 0o755 });
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(directory, { recursive: true });
});

const inShell = (command: string): string =>
  execFileSync("/bin/sh", ["-c", command], {
    env: { PATH: wrapperDirectory() },
    encoding: "utf8",
    timeout: 5000,
  }).trim();

test("pulumi and kubectl are there, also when the shell that asked had them from there already", async () => {
  await writeFile(join(directory, "kubectl"), '#!/bin/sh\necho "kubectl $*"\n', { mode: 0o755 });
  for (const path of [directory, `${wrapperDirectory()}:${directory}`]) {
    vi.stubEnv("PATH", path);
    await writeWrappers({ pulumi: pulumi() });
    expect(inShell("kubectl get pods")).toBe("kubectl get pods");
    expect(inShell("pulumi stack ls")).toMatch(/^pulumi --cwd \S+\/state\/project stack ls$/);
  }
});

test("pulumi is there where no kubectl can be had, which is said", async () => {
  const said = vi.spyOn(process.stderr, "write").mockReturnValue(true);
  await writeWrappers({ pulumi: pulumi() });
  expect(said.mock.calls.join("")).toContain("Install kubectl, or Go");
  said.mockRestore();
  expect(inShell("pulumi version")).toContain("pulumi --cwd");
  expect(existsSync(join(wrapperDirectory(), "kubectl"))).toBe(false);
});
