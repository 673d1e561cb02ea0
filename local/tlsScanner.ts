/** The program that grades TLS for the tests: sslyze, from Python's registry, kept in the cache. */
import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { cacheDirectory, ensureSystemPackages, exists, message, run, say, UserError } from "./system.ts";

const version = "6.3.1";

/** Path of a Python with which `-m sslyze` runs; installed now if it is not there yet. */
export async function tlsScanner(): Promise<string> {
  const directory = join(cacheDirectory(), `sslyze-${version}`);
  const python = join(directory, "bin", "python");
  if (await exists(directory)) return python;
  const needs = [
    { provides: "python3", debianPackage: "python3" },
    { provides: "/usr/share/python-wheels", debianPackage: "python3-venv" },
  ];
  await ensureSystemPackages(needs, "grading the edge's TLS");
  say(`tests: installing sslyze ${version} into the cache (about 20 s)`);
  const partial = `${directory}.partial`;
  await rm(partial, { recursive: true, force: true });
  try {
    await run("python3", ["-m", "venv", partial]);
    await run(join(partial, "bin", "python"), ["-m", "pip", "install", "--quiet", `sslyze==${version}`]);
  } catch (error) {
    throw new UserError(`sslyze could not be installed: ${message(error)}\nRun the same command again.`);
  }
  await rename(partial, directory);
  return python;
}
