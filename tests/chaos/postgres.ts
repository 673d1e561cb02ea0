import { setTimeout as sleep } from "node:timers/promises";
import type { V1PodList, V1Service } from "@kubernetes/client-node";
import { expect } from "vitest";
import { get, inDatabase, kubectl, postgresPrimary, waitFor } from "../cluster/support.ts";
import { kill, whilePartitioned } from "./node.ts";
import { duringWrites, type Outcome } from "./writes.ts";

/** The primary's pod is killed by SIGKILL. */
export async function primaryKilled(): Promise<Outcome> {
  await postgresHealthy();
  return duringWrites(async () => {
    await kill("data", await postgresPrimary());
  });
}

/** The primary hears nobody and nobody hears it, until another has taken over and been used for a while. */
export async function primaryPartitioned(): Promise<Outcome> {
  await postgresHealthy();
  const old = await postgresPrimary();
  const members = await memberNames();
  await inDatabase(old, "create table if not exists chaos_writes (id text primary key)");
  const probes = members.map((member) => new Probe(member));
  const outcome = await duringWrites(() =>
    whilePartitioned("data", old, async () => {
      const probing = Promise.all(probes.map((probe) => probe.run()));
      try {
        await waitFor("another primary", 60, async () => {
          expect(await postgresPrimary()).not.toBe(old);
        });
        await sleep(8000);
      } finally {
        for (const probe of probes) probe.stop();
        await probing;
      }
    }),
  );
  await postgresHealthy();
  const stored = new Set((await inDatabase(await postgresPrimary(), "select id from chaos_writes")).flat());
  const [before, after] = [
    probes.filter(({ member }) => member === old),
    probes.filter(({ member }) => member !== old),
  ];
  const lastOfOld = Math.max(0, ...before.flatMap(({ acknowledged }) => acknowledged.map(({ at }) => at)));
  const firstOfNew = Math.min(...after.flatMap(({ acknowledged }) => acknowledged.map(({ at }) => at)));
  const lost = probes.flatMap(({ acknowledged }) => acknowledged).filter(({ id }) => !stored.has(id));
  // Never two at once: the old one acknowledged its last write before the new one acknowledged its first.
  expect(firstOfNew).toBeLessThan(Infinity);
  expect(lastOfOld).toBeLessThan(firstOfNew);
  expect(
    new Set(after.filter(({ acknowledged }) => acknowledged.length > 0).map(({ member }) => member)).size,
  ).toBe(1);
  return { ...outcome, lost: outcome.lost + lost.length };
}

// Three times as long as a primary is believed that says nothing.
const apiAwayMilliseconds = 60_000;

/** No member reaches the API server, and all reach each other: the primary stays. */
export async function apiServerAway(): Promise<Outcome> {
  await postgresHealthy();
  const primary = await postgresPrimary();
  const { spec } = (await get("service", "--namespace=default", "kubernetes")) as V1Service;
  const address = spec?.clusterIP;
  if (address === undefined) throw new Error("the API server has no Service");
  const members = await memberNames();
  const away = members.reduce<() => Promise<unknown>>(
    (work, member) => () => whilePartitioned("data", member, work, address),
    async () => {
      for (const member of members) expect(await reaches(member, address), member).toBe(false);
      await sleep(apiAwayMilliseconds);
    },
  );
  for (const member of members) expect(await reaches(member, address), member).toBe(true);
  const outcome = await duringWrites(away);
  expect(await postgresPrimary()).toBe(primary);
  await postgresHealthy();
  return outcome;
}

/** Whether a member's pod can open a connection of HTTPS to this address. */
async function reaches(member: string, address: string): Promise<boolean> {
  const program = `
import socket
try:
    socket.create_connection(("${address}", 443), 3).close()
    print("reached")
except OSError as error:
    print(error)`;
  const python = ["--container=patroni", "--", "python3", "-c", program];
  return (await kubectl("exec", "--namespace=data", member, ...python)).trim() === "reached";
}

/** Tries to write on one member itself, from inside its pod, where no partition is in the way. */
class Probe {
  readonly member: string;
  readonly acknowledged: { readonly id: string; readonly at: number }[] = [];
  #running = true;

  constructor(member: string) {
    this.member = member;
  }

  async run(): Promise<void> {
    for (let number = 0; this.#running; number += 1) {
      const id = `${this.member} ${Date.now()} ${number}`;
      try {
        // Waits for the synchronous member for as long as the pod's `timeout` lets it: cut short is not acknowledged.
        const sql = `insert into chaos_writes values ('${id}')`;
        const psql = ["timeout", "-s", "KILL", "2", "psql", "-XAtq", "-h", "/run/patroni", "-U", "postgres"];
        await kubectl(
          "exec",
          "--namespace=data",
          this.member,
          "--container=patroni",
          "--",
          ...psql,
          "-c",
          sql,
        );
        this.acknowledged.push({ id, at: Date.now() });
      } catch {
        // Read-only, stopped, or waiting for a member that it cannot reach.
      }
      await sleep(300);
    }
  }

  stop(): void {
    this.#running = false;
  }
}

async function memberNames(): Promise<string[]> {
  const { items } = (await get(
    "pods",
    "--namespace=data",
    "--selector=app.kubernetes.io/name=postgres",
  )) as V1PodList;
  return items.map(({ metadata }) => metadata?.name ?? "");
}

/** Every member streams from the primary; the next fault starts from there. */
export async function postgresHealthy(): Promise<void> {
  await waitFor("every member in step", 120, async () => {
    const members = await memberNames();
    if (members.length < 3) throw new Error("A fault needs three members: make up HA=1");
    const states = await inDatabase(
      await postgresPrimary(),
      "select state, sync_state from pg_stat_replication",
    );
    expect(states).toEqual(members.slice(1).map(() => ["streaming", "quorum"]));
  });
}
