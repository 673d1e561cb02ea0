/** `make stop` and `make start`: the cluster rests with all of its data, and goes on where it was. */
import { readFile } from "node:fs/promises";
import { get } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import { currentCluster, startCluster, stopCluster } from "./cluster.ts";
import { edgeUrl } from "./devSettings.ts";
import { caPath } from "./identity.ts";
import { withLock } from "./lock.ts";
import { readStatus, showStatus, type Row } from "./status.ts";
import { message, say, UserError } from "./system.ts";

const deadlineSeconds = 180;

/** Stops the cluster that the last `make up` chose. */
export function stop(): Promise<void> {
  return withLock("stack", async () => {
    await stopCluster(await currentCluster());
    say("Stopped; nothing was deleted. `make start` goes on where it was.");
  });
}

/** Starts it again; returns when every workload is ready and the edge answers. */
export function start(): Promise<void> {
  return withLock("stack", async () => {
    const started = Date.now();
    const cluster = await currentCluster();
    await startCluster(cluster);
    const { kubeconfig, context } = cluster;
    await untilHealthy({ read: () => readStatus(kubeconfig, context), answers, deadlineSeconds });
    await showStatus(kubeconfig, context);
    say(`The stack runs again after ${Math.round((Date.now() - started) / 1000)} s.`);
  });
}

export interface Waiting {
  /** The workloads as the API server knows them; after a start, it may not know yet that they ended. */
  readonly read: () => Promise<readonly Row[]>;
  /** Whether a request through the edge is answered. */
  readonly answers: () => Promise<boolean>;
  readonly deadlineSeconds: number;
  /** Default 1. */
  readonly pauseSeconds?: number;
}

/** @throws {UserError} naming what is not healthy by the deadline. */
export async function untilHealthy({
  read,
  answers,
  deadlineSeconds,
  pauseSeconds = 1,
}: Waiting): Promise<void> {
  const deadline = Date.now() + deadlineSeconds * 1000;
  let told = Date.now();
  for (;;) {
    const missing = await waitsFor(read, answers);
    if (missing === "") return;
    if (Date.now() > deadline) {
      throw new UserError(
        `Not everything came back in ${deadlineSeconds} s: ${missing}. \`make status\` and \`make logs\` say more; ` +
          "`make up` repairs what is missing.",
      );
    }
    if (Date.now() - told > 8_000) {
      told = Date.now();
      say(`waiting for ${missing} (usually 20 to 60 s)`);
    }
    await sleep(pauseSeconds * 1000);
  }
}

/** What is not there yet; empty when everything is. */
async function waitsFor(read: Waiting["read"], answers: Waiting["answers"]): Promise<string> {
  try {
    const rows = await read();
    if (rows.length === 0) throw new UserError("No workload is there to start. Run `make up`.");
    const ill = rows
      .filter(({ healthy }) => !healthy)
      .map(({ namespace, workload }) => `${namespace}/${workload}`);
    if (ill.length > 0) return ill.join(", ");
    return (await answers()) ? "" : "an answer through the edge";
  } catch (error) {
    if (error instanceof UserError) throw error;
    return `the API server (${message(error)})`;
  }
}

async function answers(): Promise<boolean> {
  const [ca, url] = [await readFile(caPath()), await edgeUrl()];
  return new Promise((resolve) => {
    const request = get(`${url}/ready`, { ca, timeout: 3_000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.on("timeout", () => request.destroy());
    request.on("error", () => {
      resolve(false);
    });
  });
}
