/** One run at a time: a lock file that names its holder and does not outlive it. */
import { link, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { cacheDirectory, isErrno, readIfPresent, tryRun, UserError } from "./system.ts";

/** A process, told apart from a later one that was given the same pid. */
export interface ProcessIdentity {
  readonly pid: number;
  /** When it started: on Linux the boot's id and the clock ticks since that boot. */
  readonly started: string;
}

interface Holder extends ProcessIdentity {
  readonly since: string;
  readonly command: string;
}

/** The identity of the live process with this pid; undefined when there is none, or only its zombie. */
export async function identify(pid: number): Promise<ProcessIdentity | undefined> {
  if (process.platform !== "linux") {
    const started = (await tryRun("ps", ["-o", "lstart=", "-p", String(pid)]))?.trim();
    return started === undefined || started === "" ? undefined : { pid, started };
  }
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  if (stat === undefined) return undefined;
  // The second field is the command's name in parentheses and may itself contain spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  if (fields[0] === "Z") return undefined;
  const bootId = (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
  return { pid, started: `${bootId}/${fields[19] ?? ""}` };
}

export async function isAlive(identity: ProcessIdentity): Promise<boolean> {
  return (await identify(identity.pid))?.started === identity.started;
}

/** Runs `fn` while holding the lock; throws a UserError that says who holds it if someone else does. */
export async function withLock<T>(name: string, fn: () => Promise<T>): Promise<T> {
  const directory = join(cacheDirectory(), "locks");
  const path = join(directory, `${name}.json`);
  await mkdir(directory, { recursive: true });
  const me = await ownHolder();
  const draft = `${path}.${me.pid}`;
  await writeFile(draft, JSON.stringify(me));
  try {
    await acquire(path, draft, name);
  } finally {
    await rm(draft, { force: true });
  }
  try {
    return await fn();
  } finally {
    await rm(path, { force: true });
  }
}

async function ownHolder(): Promise<Holder> {
  const identity = await identify(process.pid);
  if (identity === undefined)
    throw new UserError("This needs Linux: there is no /proc to tell processes apart.");
  const command = process.argv
    .slice(1)
    .map((argument, index) => (index === 0 ? basename(argument) : argument))
    .join(" ");
  return { ...identity, since: new Date().toISOString(), command };
}

async function acquire(path: string, draft: string, name: string): Promise<void> {
  for (let attempt = 0; attempt < 20; attempt++) {
    try {
      // A link appears complete or not at all, unlike a file that is opened and then written.
      await link(draft, path);
      return;
    } catch (error) {
      if (!isErrno(error, "EEXIST")) throw error;
    }
    const text = await readIfPresent(path);
    if (text === undefined) continue;
    const holder = holderOf(text);
    if (holder !== undefined && (await isAlive(holder))) {
      throw new UserError(
        `Another run holds the "${name}" lock: process ${holder.pid} (${holder.command}), since ${holder.since}. ` +
          "Wait for it to end, or stop it, then run this again.",
      );
    }
    await discardStale(path, text);
  }
  throw new UserError(`Could not take the lock ${path}: others keep taking it. Run this again.`);
}

/** Undefined where a machine that lost its power has kept the file's name only. */
function holderOf(text: string): Holder | undefined {
  try {
    return JSON.parse(text) as Holder;
  } catch {
    return undefined;
  }
}

/** Removes a dead holder's lock, unless another run has meanwhile replaced it with its own. */
async function discardStale(path: string, staleText: string): Promise<void> {
  const aside = `${path}.stale-${process.pid}`;
  try {
    await rename(path, aside);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return;
    throw error;
  }
  if ((await readFile(aside, "utf8")) !== staleText) await link(aside, path).catch(() => undefined);
  await rm(aside, { force: true });
}
