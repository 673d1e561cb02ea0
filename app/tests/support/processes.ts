import { type ChildProcess, spawn, type SpawnOptions } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const given = new Set<number>();

/**
 * A port of loopback where nothing listens, never the same twice: asked for one after the other, two could be equal. It
 * lies below the range that Linux gives to outgoing connections, one of which could take it before it is listened to.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 30_000);
    if (given.has(port)) continue;
    given.add(port);
    const server = createServer().listen(port, "127.0.0.1");
    try {
      await once(server, "listening");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EADDRINUSE") continue;
      throw error;
    }
    server.close();
    await once(server, "close");
    return port;
  }
}

/** Stops a process by SIGSTOP, and returns when none of its threads runs any more; where there is no /proc, at once. */
export async function freeze(child: ChildProcess): Promise<void> {
  child.kill("SIGSTOP");
  const tasks = `/proc/${child.pid}/task`;
  await eventually(async () => {
    const ids = await readdir(tasks).catch(() => []);
    const states = await Promise.all(ids.map((id) => readFile(join(tasks, id, "stat"), "utf8")));
    if (!states.every((state) => /\) [Tt] /.test(state))) throw new Error(`process ${child.pid} still runs`);
  });
}

/** Asks again and again until it answers without an error, or the time is up. */
export async function eventually<T>(ask: () => Promise<T> | T, timeoutMs = 10_000): Promise<T> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (Date.now() > end) {
        throw error;
      }
      await sleep(50);
    }
  }
}

/** A started process, its output so far, and the end of it. */
export interface Running {
  child: ChildProcess;
  stdout: () => string;
  stderr: () => string;
  exited: Promise<number | null>;
}

export function start(command: string, args: string[], options: SpawnOptions = {}): Running {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
  const output = { stdout: "", stderr: "" };
  child.stdout?.on("data", (chunk: Buffer) => (output.stdout += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (output.stderr += chunk.toString()));
  const exited = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  return { child, stdout: () => output.stdout, stderr: () => output.stderr, exited };
}

/** Runs to the end; an exit code other than 0 is an error with the command's own output. */
export async function run(command: string, args: string[], options: SpawnOptions = {}): Promise<string> {
  const running = start(command, args, options);
  const code = await running.exited;
  if (code !== 0) {
    throw new Error(`${command} ended with ${String(code)}: ${running.stderr()}${running.stdout()}`);
  }
  return running.stdout();
}

export async function stop({ child, exited }: Running, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    child.kill(signal);
    await exited;
  }
}
