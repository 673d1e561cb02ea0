/** What a person who is not root is told. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ensureSystemPackages, explained, requireRoot, UserError } from "../../local/system.ts";

const advice =
  'Run the same command as root, `sudo -E env "PATH=$PATH" make …`, and later ones in the same way';
let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "groundwork-root-"));
  vi.stubEnv("GROUNDWORK_CACHE", directory);
  vi.spyOn(process, "getuid").mockReturnValue(1000);
});
afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  await rm(directory, { recursive: true });
});

test("the way that keeps Node and Go on PATH, and what would do without root", () => {
  expect(() => {
    requireRoot("The node needs root, as it mounts", "or start Docker");
  }).toThrow(new UserError(`The node needs root, as it mounts. ${advice}; or start Docker.`));
});

test("a package that is missing is said to be one, and may be installed by hand", async () => {
  await writeFile(join(directory, "apt-get"), "", { mode: 0o755 });
  vi.stubEnv("PATH", directory);
  const need = { provides: "/nowhere/python-wheels", debianPackage: "python3-venv" };
  await expect(ensureSystemPackages([need], "scanning")).rejects.toThrow(
    `Installing python3-venv (for scanning) needs root. ${advice}; or install what is named yourself`,
  );
});

test("root's cache is said to be that, where anything else has its stack trace", () => {
  const denied = (path: string) =>
    Object.assign(new Error("EACCES: permission denied"), { code: "EACCES", path });
  expect(explained(denied(join(directory, "locks")))).toMatch(
    /locks may not be used by this user, as after a command that was run as root.*sudo -E env/,
  );
  expect(explained(denied("/etc/shadow"))).toMatch(/EACCES: permission denied\n +at /);
  expect(explained(new UserError("Do this."))).toBe("Do this.");
});
