/** The node's parts as detached processes: pid files that cannot name a stranger, logs of bounded size. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, openSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { identify, isAlive, type ProcessIdentity } from "../lock.ts";
import { lastLines, readIfPresent, UserError } from "../system.ts";
import { inCluster, pidDirectory } from "./layout.ts";

export interface Part {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Files the part reads only at its start: a changed one restarts it. */
  readonly files?: readonly string[];
}

interface PidRecord extends ProcessIdentity {
  /** Of the command, its arguments and its files. */
  readonly digest: string;
}

export const maxLogBytes = 20 * 1024 * 1024;

export function logPath(name: string): string {
  return inCluster("logs", `${name}.log`);
}

/** Starts the part unless it runs already just so; one that runs with older settings is restarted. */
export async function startPart(part: Part): Promise<void> {
  const digest = await partDigest(part);
  const record = await readRecord(part.name);
  if (record !== undefined && (await isAlive(record))) {
    if (record.digest === digest) return;
    await stopPart(part.name);
  }
  await mkdir(pidDirectory, { recursive: true });
  await mkdir(inCluster("logs"), { recursive: true });
  await rotate(part.name);
  // Opened for appending, so that whoever bounds the log may truncate it under the running process.
  const log = openSync(logPath(part.name), "a", 0o600);
  try {
    const env = { ...process.env, ...part.env };
    const child = spawn(part.command, part.args, {
      detached: true,
      stdio: ["ignore", log, log],
      cwd: "/",
      env,
    });
    await new Promise<void>((resolve, reject) => {
      child.once("spawn", resolve);
      child.once("error", reject);
    });
    child.unref();
    const identity = child.pid === undefined ? undefined : await identify(child.pid);
    if (identity === undefined) throw await endedAtOnce(part.name);
    await writeRecord(part.name, { ...identity, digest });
  } finally {
    closeSync(log);
  }
}

/** Ends the part if it runs: asks, waits, then insists. */
export async function stopPart(name: string, graceSeconds = 10): Promise<void> {
  const record = await readRecord(name);
  if (record !== undefined) {
    const deadline = Date.now() + graceSeconds * 1000;
    while (await isAlive(record)) {
      process.kill(record.pid, Date.now() < deadline ? "SIGTERM" : "SIGKILL");
      await sleep(100);
    }
  }
  await rm(recordPath(name), { force: true });
}

/** Ends processes of these parts that no pid file names: their starter was killed before it could write one. */
export async function stopStrays(parts: readonly Part[]): Promise<void> {
  const known = new Set(await Promise.all(parts.map((part) => runningPid(part.name))));
  const commandLines = new Set(parts.map((part) => [part.command, ...part.args, ""].join("\0")));
  for (const entry of await readdir("/proc")) {
    const commandLine = await readFile(`/proc/${entry}/cmdline`, "utf8").catch(() => "");
    if (commandLines.has(commandLine) && !known.has(Number(entry))) process.kill(Number(entry), "SIGKILL");
  }
}

export async function runningPid(name: string): Promise<number | undefined> {
  const record = await readRecord(name);
  return record !== undefined && (await isAlive(record)) ? record.pid : undefined;
}

/** Throws with the end of the part's log if it has ended. */
export async function requireRunning(name: string): Promise<void> {
  if ((await runningPid(name)) === undefined) throw await endedAtOnce(name);
}

async function endedAtOnce(name: string): Promise<UserError> {
  const log = (await readIfPresent(logPath(name))) ?? "";
  return new UserError(
    `${name} ended by itself. The end of its log (${logPath(name)}):\n${lastLines(log, 8)}`,
  );
}

/** Resident memory in KiB as the kernel shares it out between processes; undefined if it has ended meanwhile. */
export async function memoryKiB(pid: number): Promise<number | undefined> {
  const rollup = await readFile(`/proc/${pid}/smaps_rollup`, "utf8").catch(() => "");
  const resident = /^Pss:\s+(\d+) kB/m.exec(rollup)?.[1];
  return resident === undefined ? undefined : Number(resident);
}

async function partDigest(part: Part): Promise<string> {
  const hash = createHash("sha256").update(JSON.stringify([part.command, part.args, part.env]));
  for (const file of part.files ?? []) hash.update(await readFile(file));
  return hash.digest("hex");
}

async function rotate(name: string): Promise<void> {
  const size = await stat(logPath(name)).then(
    (info) => info.size,
    () => 0,
  );
  if (size > maxLogBytes / 2) await rename(logPath(name), `${logPath(name)}.1`);
}

function recordPath(name: string): string {
  return join(pidDirectory, `${name}.json`);
}

async function readRecord(name: string): Promise<PidRecord | undefined> {
  const text = await readIfPresent(recordPath(name));
  return text === undefined ? undefined : (JSON.parse(text) as PidRecord);
}

async function writeRecord(name: string, record: PidRecord): Promise<void> {
  await writeFile(`${recordPath(name)}.new`, JSON.stringify(record));
  await rename(`${recordPath(name)}.new`, recordPath(name));
}
