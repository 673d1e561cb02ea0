import { expect, test } from "vitest";
import { edgeReloaded, evicted, killed, rolledOut } from "./pods.ts";
import { primaryKilled, primaryPartitioned } from "./postgres.ts";
import { queuePrimaryKilled } from "./redis.ts";
import { badUpdates } from "./updates.ts";
import type { Outcome } from "./writes.ts";

interface Fault {
  readonly make: () => Promise<Outcome>;
  /** Writes are acknowledged again within this, seconds. */
  readonly limitSeconds: number;
  /** Nobody is to notice: no request may be refused. */
  readonly unseen?: boolean;
}

const unseen = { limitSeconds: 5, unseen: true };
/** A pod that dies takes along what it has in hand: it is asked for again a second later. */
const unseenBySecondTry = { limitSeconds: 15, unseen: true };

const faults: Readonly<Record<string, Fault>> = {
  "app-rolled-out": { make: rolledOut("app"), ...unseen },
  "app-evicted": { make: evicted("app"), ...unseen },
  "app-killed": { make: killed("app"), ...unseenBySecondTry },
  "edge-rolled-out": { make: rolledOut("edge"), ...unseen },
  "edge-evicted": { make: evicted("edge"), ...unseen },
  "edge-reloaded": { make: edgeReloaded, ...unseen },
  "worker-killed": { make: killed("worker"), ...unseen },
  "bad-updates": { make: badUpdates, ...unseen },
  "postgres-primary-killed": { make: primaryKilled, limitSeconds: 15 },
  "postgres-primary-partitioned": { make: primaryPartitioned, limitSeconds: 30 },
  "redis-primary-killed": { make: queuePrimaryKilled, limitSeconds: 15 },
};

const wanted = process.env["FAULT"] ?? "";
/** Releases have a file of their own. */
const isRelease = wanted === "bad-release";
const names = wanted === "" || isRelease ? Object.keys(faults) : [wanted];
const times = Number(process.env["TIMES"] ?? "1");

test.skipIf(isRelease).each(names)("%s: writes go on, and none is lost", async (name) => {
  const fault = faults[name];
  if (!fault)
    throw new Error(
      `FAULT is "${name}" and may be ${Object.keys(faults).join(", ")}, bad-release, or none for all`,
    );
  const outcomes: Outcome[] = [];
  for (let run = 1; run <= times; run += 1) {
    const outcome = await fault.make();
    outcomes.push(outcome);
    process.stdout.write(
      `${name} ${run}/${times}: no acknowledged write for ${outcome.pauseSeconds.toFixed(1)} s (limit ${fault.limitSeconds} s); ` +
        `${outcome.acknowledged} acknowledged, ${outcome.failed} refused, ${outcome.lost} lost, ${outcome.doubled} doubled\n`,
    );
  }
  for (const outcome of outcomes) {
    expect(outcome.acknowledged).toBeGreaterThan(20);
    expect(outcome.pauseSeconds).toBeLessThanOrEqual(fault.limitSeconds);
    expect(outcome.doubled).toBe(0);
    expect(outcome.lost).toBe(0);
    if (fault.unseen) expect(outcome.failed).toBe(0);
  }
});
