/** Long commands with a log file, and one line every few seconds that says what is going on. */
import { spawn } from "node:child_process";
import { open, readFile } from "node:fs/promises";
import { lastLines, say } from "../system.ts";

const heartbeatMilliseconds = 8_000;

export interface StepOptions {
  /** Output goes here, behind what is there already; its last lines are in the error of a failed command. */
  readonly logFile: string;
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** What the command reads; nothing by default. */
  readonly inputFile?: string;
  /** Ends the command when aborted. */
  readonly signal: AbortSignal;
}

export class StepError extends Error {
  readonly logTail: string;
  readonly logFile: string;

  constructor(what: string, logTail: string, logFile: string) {
    super(what);
    this.logTail = logTail;
    this.logFile = logFile;
  }
}

/** Runs a command to its end. */
export async function step(command: string, args: readonly string[], options: StepOptions): Promise<void> {
  const log = await open(options.logFile, "a");
  const input = await open(options.inputFile ?? "/dev/null");
  try {
    await log.write(`\n$ ${command} ${args.join(" ")}\n`);
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: options.env,
      signal: options.signal,
      stdio: [input.fd, log.fd, log.fd],
    });
    const outcome = await new Promise<string | undefined>((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", (code, signal) => {
        resolve(code === 0 ? undefined : `ended with ${signal ?? `status ${code ?? "unknown"}`}`);
      });
    });
    if (outcome === undefined) return;
    const tail = lastLines(await readFile(options.logFile, "utf8"), 15);
    throw new StepError(`${command} ${args[0] ?? ""} ${outcome}`, tail, options.logFile);
  } finally {
    await input.close();
    await log.close();
  }
}

/** What is being built at the moment, told at intervals while there is something to tell. */
export class Progress {
  readonly #running = new Map<string, { since: number; expectedSeconds: number }>();
  readonly #started = Date.now();
  readonly #timer = setInterval(() => {
    this.#tell();
  }, heartbeatMilliseconds);

  async during<T>(what: string, expectedSeconds: number, work: () => Promise<T>): Promise<T> {
    const since = Date.now();
    this.#running.set(what, { since, expectedSeconds });
    try {
      const result = await work();
      say(`images: ${what} done in ${seconds(since)} s`);
      return result;
    } finally {
      this.#running.delete(what);
    }
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #tell(): void {
    const parts = [...this.#running].map(
      ([what, { since, expectedSeconds }]) => `${what} (${seconds(since)} s of about ${expectedSeconds})`,
    );
    if (parts.length > 0) say(`images: ${seconds(this.#started)} s: ${parts.join(", ")}`);
  }
}

/** At most `limit` of the works given to the returned function run at a time. */
export function limiter(limit: number): <T>(work: () => Promise<T>) => Promise<T> {
  let free = limit;
  const waiting: (() => void)[] = [];
  return async (work) => {
    if (free > 0) free--;
    else {
      await new Promise<void>((resolve) => {
        waiting.push(resolve);
      });
    }
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) free++;
      else next();
    }
  };
}

function seconds(since: number): number {
  return Math.round((Date.now() - since) / 1000);
}
