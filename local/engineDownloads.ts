/** Downloads that a machine without a way to their source must not be held up by. */
import { execFile } from "node:child_process";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { message, readIfPresent, say } from "./system.ts";

/** A download that failed is not tried again for this long: it costs seconds, and the network may come back. */
const retryAfterMilliseconds = 60 * 60 * 1000;
const downloadLimitMilliseconds = 10 * 60 * 1000;

/**
 * Tries a download unless it failed a short while ago, which a file of the directory says; gives the reason when it cannot be
 * had.
 */
export async function attempt(
  engineDirectory: string,
  name: string,
  download: () => Promise<void>,
): Promise<string | undefined> {
  const file = join(engineDirectory, `unavailable-${name}`);
  const before = await readIfPresent(file);
  const failedAt = Number(before?.split("\n")[0] ?? 0);
  const untilNext = failedAt + retryAfterMilliseconds - Date.now();
  if (untilNext > 0) return `no download here; tried again in ${Math.ceil(untilNext / 60_000)} min`;
  try {
    await download();
    await rm(file, { force: true });
    return undefined;
  } catch (error) {
    await writeFile(file, `${Date.now()}\n${message(error)}\n`);
    return `no download here, see ${file}`;
  }
}

/** Runs a download, with a sign of life every ten seconds. */
export async function downloading(
  what: string,
  command: string,
  args: string[],
  env: NodeJS.ProcessEnv,
): Promise<void> {
  const start = Date.now();
  const ticker = setInterval(() => {
    say(`${what}: downloading (${Math.round((Date.now() - start) / 1000)} s)`);
  }, 10_000);
  try {
    await promisify(execFile)(command, args, { env, timeout: downloadLimitMilliseconds });
  } finally {
    clearInterval(ticker);
  }
}
