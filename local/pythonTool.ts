/** Programs from Python's registry, each in an environment of its own in the cache. */
import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { cacheDirectory, ensureSystemPackages, exists, message, run, say, UserError } from "./system.ts";

export interface PythonTool {
  /** Name in the registry. */
  readonly name: string;
  readonly version: string;
  /** What it is needed for, as a message says it. */
  readonly purpose: string;
  readonly seconds: number;
}

/** Path of a Python that can import it; installed now if it is not there yet. */
export async function pythonTool({ name, version, purpose, seconds }: PythonTool): Promise<string> {
  const directory = join(cacheDirectory(), `${name}-${version}`);
  const python = join(directory, "bin", "python");
  if (await exists(directory)) return python;
  const needs = [
    { provides: "python3", debianPackage: "python3" },
    { provides: "/usr/share/python-wheels", debianPackage: "python3-venv" },
  ];
  await ensureSystemPackages(needs, purpose);
  say(`installing ${name} ${version} into the cache (about ${seconds} s)`);
  const partial = `${directory}.partial`;
  await rm(partial, { recursive: true, force: true });
  try {
    await run("python3", ["-m", "venv", partial]);
    await run(join(partial, "bin", "python"), ["-m", "pip", "install", "--quiet", `${name}==${version}`]);
  } catch (error) {
    throw new UserError(`${name} could not be installed: ${message(error)}\nRun the same command again.`);
  }
  await rename(partial, directory);
  return python;
}
