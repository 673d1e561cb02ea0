import { readFile, readdir } from "node:fs/promises";
import path from "node:path";
import { at, isObject, textAt, type JsonObject } from "../common/wire.ts";

export interface RequiredPlugin {
  name: string;
  version: string;
  server: string;
}

export async function readPackage(directory: string): Promise<JsonObject> {
  try {
    const parsed: unknown = JSON.parse(await readFile(path.join(directory, "package.json"), "utf8"));
    return isObject(parsed) ? parsed : {};
  } catch {
    return {};
  }
}

/** The provider plugins that the installed packages of a project say they need. */
export async function requiredPlugins(projectDirectory: string): Promise<RequiredPlugin[]> {
  const modules = await findModules(projectDirectory);
  const packages = await Promise.all((await packageDirectories(modules)).map(readPackage));
  return packages
    .filter((found) => at(found, "pulumi", "resource") === true)
    .map((found) => ({
      name: textAt(found, "pulumi", "name") || textAt(found, "name").replace(/^@pulumi\/|^@/, ""),
      version: `v${(textAt(found, "pulumi", "version") || textAt(found, "version")).replace(/^v/, "")}`,
      server: textAt(found, "pulumi", "server"),
    }));
}

async function packageDirectories(modules: string): Promise<string[]> {
  const entries = (await readdir(modules).catch(() => [])).filter((entry) => !entry.startsWith("."));
  const nested = entries.map(async (entry) => {
    if (!entry.startsWith("@")) return [path.join(modules, entry)];
    const scoped = await readdir(path.join(modules, entry)).catch(() => []);
    return scoped.map((name) => path.join(modules, entry, name));
  });
  return (await Promise.all(nested)).flat();
}

/** The nearest node_modules directory, going up as Node does. */
async function findModules(directory: string): Promise<string> {
  for (let here = directory; ; here = path.dirname(here)) {
    const modules = path.join(here, "node_modules");
    const entries = await readdir(modules).catch(() => undefined);
    if (entries ?? path.dirname(here) === here) return modules;
  }
}
