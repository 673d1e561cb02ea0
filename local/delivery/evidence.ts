/** What was tried for which content of the checkout: one small file for each, in the cache directory. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { repository } from "../stack.ts";
import { cacheDirectory, readIfPresent, tryRun } from "../system.ts";

/** The suites of tests. */
export type Evidence = "test" | "engine" | "cluster";

/** Git's name for exactly what is checked out; undefined when something is not committed, or there is no git. */
export async function checkedOut(directory = repository): Promise<string | undefined> {
  const changed = await tryRun("git", ["-C", directory, "status", "--porcelain"]);
  if (changed !== "") return undefined;
  return (await tryRun("git", ["-C", directory, "rev-parse", "HEAD^{tree}"]))?.trim();
}

const fileOf = (kind: Evidence, tree: string): string =>
  join(cacheDirectory(), "evidence", `${kind}-${tree}.json`);

/** Remembers a success for what was checked out when it began, if that is still what is checked out. */
export async function recordSuccess(kind: Evidence, tree: string | undefined): Promise<void> {
  if (tree === undefined || tree !== (await checkedOut())) return;
  await mkdir(join(cacheDirectory(), "evidence"), { recursive: true });
  await writeFile(fileOf(kind, tree), JSON.stringify({ at: new Date().toISOString() }));
}

/** When it succeeded with exactly this content, as an ISO time; undefined: never, here. */
export async function succeededAt(kind: Evidence, tree: string): Promise<string | undefined> {
  const text = await readIfPresent(fileOf(kind, tree));
  return text === undefined ? undefined : (JSON.parse(text) as { at: string }).at;
}
