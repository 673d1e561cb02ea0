/** Clients that ask for jobs through the edge without pause, and afterwards look what became of each. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import { z } from "zod";
import { Client, inDatabase, postgresPrimary, tenants, token, waitFor } from "../cluster/support.ts";
import { longestPause } from "./pause.ts";
import type { Outcome } from "./writes.ts";

/** A user may ask for 30 jobs or answers a minute, so several do. */
const askers = [...tenants, "chaos-tests-3", "chaos-tests-4"];
export const pauseMilliseconds = 2_200;

const accepted = z.object({ id: z.uuid() });

/** One after the other: each is made by a process in the app's pod, whose memory is for one more, not for four. */
export async function editorTokens(): Promise<string[]> {
  const editors: string[] = [];
  for (const tenant of askers) editors.push(await token("editor", tenant));
  return editors;
}

/**
 * Asks for jobs until `fault` is over and for some seconds more. What is refused or not answered is asked for once more,
 * under the same Idempotency-Key, a second later. Lost are the jobs that were acknowledged and not done within two minutes;
 * doubled the effects beyond the first of a job (two jobs of one key are ruled out by the schema).
 */
export async function duringJobs(fault: () => Promise<void>): Promise<Outcome> {
  await inDatabase(await postgresPrimary(), countEffects, "app");
  try {
    return await jobsDuring(fault);
  } finally {
    await inDatabase(await postgresPrimary(), forgetEffects, "app");
  }
}

async function jobsDuring(fault: () => Promise<void>): Promise<Outcome> {
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
      const once = async (): Promise<string | undefined> =>
        client.send("POST", "/api/v2/jobs", order).then(
          ({ status, body }) => (status === 202 ? accepted.parse(JSON.parse(body)).id : undefined),
          () => undefined,
        );
      const job = (await once()) ?? (await sleep(1000).then(once));
      if (job === undefined) failed += 1;
      else {
        acknowledged.add(job);
        times.push(Date.now());
      }
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
  const unfinished = async (): Promise<string[]> => {
    const done = await inDatabase(await postgresPrimary(), "select id from jobs where state = 'done'", "app");
    const ids = new Set(done.map(([id]) => id));
    return [...acknowledged].filter((id) => !ids.has(id));
  };
  await waitFor("every job done", 120, async () => {
    expect(await unfinished()).toEqual([]);
  }).catch(() => undefined);
  return {
    acknowledged: acknowledged.size,
    failed,
    lost: (await unfinished()).length,
    doubled: await furtherEffects(),
    pauseSeconds: longestPause(times, started, ended),
  };
}

const forgetEffects = `
  drop trigger if exists chaos_effects on jobs;
  drop function if exists chaos_effect;
  drop table if exists chaos_effects`;

/** Every effect that is recorded of a job leaves a row, whoever recorded it and however often; by the superuser, past the tenants. */
const countEffects = `${forgetEffects};
  create table chaos_effects (job uuid not null);
  create function chaos_effect() returns trigger language plpgsql security definer set search_path = public
    as $$ begin insert into chaos_effects values (new.id); return null; end $$;
  create trigger chaos_effects after update on jobs
    for each row when (new.state = 'done') execute function chaos_effect()`;

/** Of all jobs that had one since counting began, those whose acknowledgement was lost among them. */
async function furtherEffects(): Promise<number> {
  const sql = "select job, count(*) from chaos_effects group by job";
  const effects = await inDatabase(await postgresPrimary(), sql, "app");
  // Nothing counted is no proof that nothing was done twice.
  expect(effects.length).toBeGreaterThan(20);
  return effects.reduce((sum, [, count]) => sum + Number(count) - 1, 0);
}
