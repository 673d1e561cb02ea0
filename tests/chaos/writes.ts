/** A client that writes through the edge without pause, and remembers what was acknowledged and when. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Client, documentOf, inDatabase, postgresPrimary, tenants, token } from "../cluster/support.ts";
import { longestPause } from "./pause.ts";

/** What the database holds of the acknowledged writes, and how long there were none. */
export interface Outcome {
  readonly acknowledged: number;
  /** Writes that were answered by an error, or not at all; whether they happened is unknown. */
  readonly failed: number;
  /** Acknowledged writes that are not in the database. */
  readonly lost: number;
  /** Writes that are in the database more than once. */
  readonly doubled: number;
  /** Longest time without an acknowledgement after the fault, seconds. */
  readonly pauseSeconds: number;
}

const writers = 3;
const pauseMilliseconds = 100;
const [tenant] = tenants;

/**
 * Writes until `fault` is over and writes have been acknowledged again for some seconds. The pause counts from its start, or
 * from the moment that it returns, milliseconds: for one that keeps everybody from writing until its cause is gone.
 */
export async function duringWrites(fault: () => Promise<unknown>): Promise<Outcome> {
  const run = randomUUID();
  const editor = await token("editor", tenant);
  const acknowledged = new Set<string>();
  const times: number[] = [];
  let [failed, sent, writing] = [0, 0, true];

  const write = async (): Promise<void> => {
    const client = new Client();
    while (writing) {
      const body = { title: `chaos ${run}`, content: String(sent++) };
      try {
        const answer = await client.send("POST", "/api/v1/documents", { token: editor, body });
        if (answer.status === 201) {
          acknowledged.add(documentOf(answer).id);
          times.push(Date.now());
        } else failed += 1;
      } catch {
        failed += 1;
      }
      await sleep(pauseMilliseconds);
    }
  };
  const work = Promise.all(Array.from({ length: writers }, write));
  await sleep(3000);
  const started = Date.now();
  let over: number | undefined;
  try {
    const told = await fault();
    if (typeof told === "number") over = told;
    // The loss may begin a moment after the fault, so it is watched for a while; then until acknowledgements arrive again.
    await sleep(15_000);
    const deadline = Date.now() + 60_000;
    while (Date.now() < deadline && Date.now() - (times.at(-1) ?? 0) > 1000) await sleep(200);
    await sleep(3000);
  } finally {
    writing = false;
    await work;
  }
  const ended = Date.now();
  const stored = await takeDocuments(run);
  const ids = new Set(stored.map(({ id }) => id));
  return {
    acknowledged: acknowledged.size,
    failed,
    lost: [...acknowledged].filter((id) => !ids.has(id)).length,
    doubled: stored.length - new Set(stored.map(({ content }) => content)).size,
    pauseSeconds: longestPause(
      times.filter((time) => over === undefined || time >= over),
      over ?? started,
      ended,
    ),
  };
}

/** What is there of the run's documents; they are gone afterwards, or each run would have a larger database. */
async function takeDocuments(run: string): Promise<{ id: string; content: string }[]> {
  const sql = `delete from documents where title = 'chaos ${run}' returning id, content`;
  const rows = await inDatabase(await postgresPrimary(), sql, "app");
  return rows.map(([id = "", content = ""]) => ({ id, content }));
}
