import { spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import { z } from "zod";
import { redisCli } from "../../local/redisCli.ts";
import { kubectl, kubectlCommand, waitFor } from "../cluster/support.ts";
import { duringJobs } from "./jobs.ts";
import { kill } from "./node.ts";
import { longestPause } from "./pause.ts";
import type { Outcome } from "./writes.ts";

const list = "chaos";

/** Runs in the app's pod: its own client of the queue appends numbers, one line for each that is acknowledged. */
const program = `
const { createRedis } = await import("/app/dist/cache/redis.js");
const { readConfig } = await import("/app/dist/config/config.js");
const { default: pino } = await import("/app/node_modules/pino/pino.js");
const client = createRedis(readConfig(process.env).config.queue, "chaos", pino({ level: "silent" }));
process.stdin.on("data", async () => {
  await client.del("${list}");
  process.exit();
}).unref();
for (let number = 0; ; number += 1) {
  const answer = await client.rpush("${list}", number).then(() => "acknowledged", () => "failed");
  console.log(JSON.stringify({ [answer]: number, at: Date.now() }));
  await new Promise((resolve) => setTimeout(resolve, 50));
}`;

const line = z.union([
  z.object({ acknowledged: z.number(), at: z.number() }),
  z.object({ failed: z.number(), at: z.number() }),
]);

/**
 * The pod of the queue's primary is killed by SIGKILL, while jobs are asked for and another client writes without pause:
 * that one's acknowledgements tell how long the queue was away.
 */
export async function queuePrimaryKilled(): Promise<Outcome> {
  await healthy();
  let pauseSeconds = Number.NaN;
  const outcome = await duringJobs(async () => {
    pauseSeconds = await pauseOf(async () => kill("data", await primary()));
  });
  return { ...outcome, pauseSeconds };
}

/** Longest time without an acknowledged write of the queue after `fault`, seconds. */
async function pauseOf(fault: () => Promise<void>): Promise<number> {
  const [command, args] = kubectlCommand("exec", "--stdin", "--namespace=app", "deploy/app", "--", "node");
  const client = spawn(command, [...args, "--input-type=module", "--eval", program]);
  let out = "";
  let said = "";
  client.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  client.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const closed = new Promise((resolve) => client.on("close", resolve));
  await sleep(4000);
  const killed = Date.now();
  await fault();
  await sleep(20_000);
  const ended = Date.now();
  client.stdin.end("enough\n");
  await Promise.race([closed, sleep(10_000)]);
  client.kill();
  const lines = out
    .split("\n")
    .filter((text) => text.startsWith("{"))
    .map((text) => line.parse(JSON.parse(text)));
  const acknowledged = lines.flatMap((found) => ("acknowledged" in found ? [found.at] : []));
  if (acknowledged.length === 0) throw new Error(`The queue's client did not work: ${said}`);
  return longestPause(acknowledged, killed, ended);
}

/** Asks a Sentinel; the name of the primary's pod. */
async function primary(): Promise<string> {
  const answer = await inMember(1, "app", "-p 26379 sentinel get-master-addr-by-name queue");
  return answer.split(".")[0] ?? "";
}

async function healthy(): Promise<void> {
  await waitFor("every member of the queue in step", 90, async () => {
    const known = await inMember(0, "app", "-p 26379 info sentinel");
    expect(known).toMatch(/status=ok,.*slaves=2,sentinels=3/);
    const number = Number((await primary()).split("-").at(-1));
    const replication = await inMember(number, "monitoring", "info replication");
    expect(replication.match(/state=online/g)).toHaveLength(2);
  });
}

function inMember(number: number, user: string, command: string): Promise<string> {
  const script = `${redisCli(user)} ${command}`;
  const pod = `redis-queue-${number}`;
  return kubectl("exec", "--namespace=data", pod, "--container=redis", "--", "/bin/sh", "-c", script);
}
