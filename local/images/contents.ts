/** What a build context contains, and the tag that follows from it. */
import { createHash } from "node:crypto";
import { readdir, readFile, stat } from "node:fs/promises";
import { join, matchesGlob } from "node:path";
import { moduleDirectory } from "../goModules.ts";
import { exists, readIfPresent, tryRun, UserError } from "../system.ts";
import { baseImage, baseRecipe, packagesAsOf, type ImageSource, type World } from "./catalogue.ts";

export interface PlannedImage {
  readonly source: ImageSource;
  /** Files of the context, relative to it, sorted. */
  readonly files: readonly string[];
  /** `groundwork/<name>:<content hash>`: a tag that changes when the content does, so that pods roll. */
  readonly reference: string;
  /** The saved image's file name. */
  readonly tarName: string;
}

/** Every image with the reference that its content gives it. */
export async function plan(list: readonly ImageSource[], world: World): Promise<PlannedImage[]> {
  const hashes = new Map<string, string>();
  const planned = new Map<string, PlannedImage>();
  const add = async (source: ImageSource): Promise<string> => {
    const known = hashes.get(source.name);
    if (known !== undefined) return known;
    const hash = createHash("sha256").update([world, packagesAsOf, baseImage, ...baseRecipe, ""].join("\n"));
    for (const [argument, parent] of Object.entries(source.parents ?? {})) {
      const found = list.find(({ name }) => name === parent);
      if (found === undefined) throw new Error(`${source.name} is built upon ${parent}, which nothing makes`);
      hash.update(`${argument}=${await add(found)}\n`);
    }
    for (const from of [source.goProgram, source.goSource]) {
      if (from) hash.update(await moduleFingerprint(from.module));
    }
    const files = await contextFiles(source.context);
    for (const file of files) hash.update(await fingerprint(join(source.context, file), file));
    const short = hash.digest("hex").slice(0, 12);
    hashes.set(source.name, short);
    planned.set(source.name, {
      source,
      files,
      reference: `groundwork/${source.name}:${short}`,
      tarName: `${source.name}-${short}.tar`,
    });
    return short;
  };
  for (const source of list) await add(source);
  return [...planned.values()];
}

/** What a program is built from; the modules that go.mod names are as fixed as their checksums in go.sum. */
async function moduleFingerprint(module: string): Promise<string> {
  const directory = moduleDirectory(module);
  const names = (await readdir(directory)).sort();
  return (await Promise.all(names.map((name) => fingerprint(join(directory, name), name)))).join("");
}

async function fingerprint(path: string, name: string): Promise<string> {
  const executable = ((await stat(path)).mode & 0o100) !== 0;
  const digest = createHash("sha256")
    .update(await readFile(path))
    .digest("hex");
  return `${name}\0${executable ? "x" : "-"}\0${digest}\n`;
}

/** The context's files without those that Git or .dockerignore leave out; the Dockerfile is always among them. */
async function contextFiles(context: string): Promise<string[]> {
  if (!(await exists(join(context, "Dockerfile")))) {
    throw new UserError(
      `There is no Dockerfile in ${context}: the clone is not complete. Restore it with git.`,
    );
  }
  const ignored = dockerIgnore((await readIfPresent(join(context, ".dockerignore"))) ?? "");
  const listed = await tryRun("git", ["-C", context, "ls-files", "-coz", "--exclude-standard"]);
  // Not a Git work tree (an unpacked archive), or one that Git will not read for another user (sudo).
  const candidates =
    listed === undefined ? await walk(context) : listed.split("\0").filter((file) => file !== "");
  const files: string[] = [];
  for (const file of new Set(candidates)) {
    const kept = file === "Dockerfile" || (file !== ".dockerignore" && !ignored(file));
    // Git also lists what was tracked and is deleted.
    if (kept && (await exists(join(context, file)))) files.push(file);
  }
  return files.sort();
}

async function walk(directory: string): Promise<string[]> {
  const skipped = new Set(["node_modules", "dist", "coverage", ".git"]);
  const files: string[] = [];
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    if (entry.isFile()) files.push(entry.name);
    if (!entry.isDirectory() || skipped.has(entry.name)) continue;
    files.push(...(await walk(join(directory, entry.name))).map((file) => join(entry.name, file)));
  }
  return files;
}

/** Docker's rule: patterns are rooted at the context, a matched directory takes all below it, the last match decides. */
export function dockerIgnore(text: string): (file: string) => boolean {
  const rules = text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => {
      const keep = line.startsWith("!");
      return {
        keep,
        pattern: line
          .slice(keep ? 1 : 0)
          .replace(/^\.?\//, "")
          .replace(/\/$/, ""),
      };
    });
  return (file) => {
    const parts = file.split("/");
    const paths = parts.map((_, index) => parts.slice(0, index + 1).join("/"));
    let ignored = false;
    for (const { keep, pattern } of rules) {
      if (paths.some((path) => matchesGlob(path, pattern))) ignored = !keep;
    }
    return ignored;
  };
}
