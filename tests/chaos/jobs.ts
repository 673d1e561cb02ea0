/** Clients that ask for jobs through the edge without pause, and afterwards look what became of each. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import { Client, inDatabase, postgresPrimary, tenants, token, waitFor } from "../cluster/support.ts";
import { longestPause } from "./pause.ts";
import type { Outcome } from "./writes.ts";

/** A user may ask for 30 jobs or answers a minute, so several do. */
const askers = [...tenants, "chaos-tests-3", "chaos-tests-4"];
export const pauseMilliseconds = 2_200;

/** One after the other: each is made by a process in the app's pod, whose memory is for one more, not for four. */
export async function editorTokens(): Promise<string[]> {
  const editors: string[] = [];
  for (const tenant of askers) editors.push(await token("editor", tenant));
  return editors;
}

/**
 * Asks for jobs until `fault` is over and for some seconds more. What is refused or not answered is asked for once more,
 * under the same Idempotency-Key, a second later. Lost are the jobs that were acknowledged and not done within two minutes;
 * doubled those that one key made two of.
 */
export async function duringJobs(fault: () => Promise<void>): Promise<Outcome> {
  const run = `chaos-${randomUUID()}`;
  const acknowledged = new Set<string>();
  const times: number[] = [];
  let [failed, sent, asking] = [0, 0, true];

  const editors = await editorTokens();
  const ask = async (editor: string): Promise<void> => {
    const client = new Client();
    await sleep(Math.random() * pauseMilliseconds);
    while (asking) {
      const key = `${run}-${sent++}`;
      const order = {
        token: editor,
        body: { kind: "generate", prompt: key },
        headers: { "Idempotency-Key": key },
      };
      const once = async (): Promise<boolean> =>
        client.send("POST", "/api/v2/jobs", order).then(
          ({ status }) => status === 202,
          () => false,
        );
      if ((await once()) || (await sleep(1000).then(once))) {
        acknowledged.add(key);
        times.push(Date.now());
      } else failed += 1;
      await sleep(pauseMilliseconds);
    }
  };
  const work = Promise.all(editors.map(ask));
  await sleep(6000);
  const started = Date.now();
  let ended = started;
  try {
    await fault();
    await sleep(20_000);
    ended = Date.now();
  } finally {
    asking = false;
    await work;
  }
  const jobs = async (): Promise<string[][]> =>
    inDatabase(
      await postgresPrimary(),
      `select idempotency_key, state from jobs where idempotency_key like '${run}-%'`,
      "app",
    );
  const unfinished = async (): Promise<string[]> => {
    const done = new Set((await jobs()).filter(([, state]) => state === "done").map(([key]) => key));
    return [...acknowledged].filter((key) => !done.has(key));
  };
  await waitFor("every job done", 120, async () => {
    expect(await unfinished()).toEqual([]);
  }).catch(() => undefined);
  const stored = (await jobs()).map(([key]) => key);
  return {
    acknowledged: acknowledged.size,
    failed,
    lost: (await unfinished()).length,
    doubled: stored.length - new Set(stored).size,
    pauseSeconds: longestPause(times, started, ended),
  };
}
