import { expect, test } from "vitest";
import { badRelease, faultsAskedFor, timesAskedFor } from "../../local/tests.ts";
import { backupDamaged } from "./backups.ts";
import { edgeReloaded, evicted, killed, rolledOut } from "./pods.ts";
import { apiServerAway, primaryKilled, primaryPartitioned } from "./postgres.ts";
import { queuePrimaryKilled } from "./redis.ts";
import { backupStoreAway, postgresDisksFull, primaryLostUnsent } from "./storage.ts";
import { badUpdates, membersChanged, updateKilled } from "./updates.ts";
import { passwordsRotated } from "./rotation.ts";
import { modelFails } from "./provider.ts";
import { vaultAway } from "./vault.ts";
import { recorded } from "./report.ts";
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
  "up-killed": { make: updateKilled, limitSeconds: 15 },
  "members-changed": { make: membersChanged, limitSeconds: 15 },
  "postgres-primary-killed": { make: primaryKilled, limitSeconds: 15 },
  "postgres-primary-partitioned": { make: primaryPartitioned, limitSeconds: 30 },
  "postgres-primary-lost": { make: primaryLostUnsent, limitSeconds: 30 },
  "api-server-away": { make: apiServerAway, ...unseen },
  "redis-primary-killed": { make: queuePrimaryKilled, limitSeconds: 15 },
  "language-model-fails": { make: modelFails, ...unseen },
  "postgres-disks-full": { make: postgresDisksFull, limitSeconds: 60 },
  "passwords-rotated": { make: passwordsRotated, ...unseen },
  "vault-away": { make: vaultAway, ...unseen },
  "backup-store-away": { make: backupStoreAway, ...unseen },
  "backup-damaged": { make: backupDamaged, limitSeconds: 60 },
};

const wanted = faultsAskedFor();
const names = wanted.length === 0 ? Object.keys(faults) : wanted.filter((name) => name !== badRelease);
const times = timesAskedFor();
/** Of one run: the longest waits for the deadlines of three updates. */
const timeout = times * 900_000;

test.each(names)("%s: writes go on, and none is lost", { timeout }, async (name) => {
  const fault = faults[name];
  if (!fault)
    throw new Error(
      `FAULT has "${name}" and may have, separated by commas, ${Object.keys(faults).join(", ")}, ${badRelease}; none is all`,
    );
  const broken: string[] = [];
  await recorded(name, async (note) => {
    for (let run = 1; run <= times; run += 1) {
      const outcome = await fault.make();
      const misses = missesOf(fault, outcome);
      const { acknowledged, failed, lost, doubled, pauseSeconds } = outcome;
      process.stdout.write(
        `${name} ${run}/${times}: no acknowledged write for ${pauseSeconds.toFixed(1)} s (limit ${fault.limitSeconds} s); ` +
          `${acknowledged} acknowledged, ${failed} refused, ${lost} lost, ${doubled} doubled\n`,
      );
      note({ ...outcome, recoverySeconds: pauseSeconds, passed: misses.length === 0 });
      broken.push(...misses.map((miss) => `run ${run}: ${miss}`));
    }
  });
  expect(broken).toEqual([]);
});

/** What of a run is not as it must be. */
function missesOf(fault: Fault, outcome: Outcome): string[] {
  const { acknowledged, failed, lost, doubled, pauseSeconds } = outcome;
  return [
    ...(acknowledged > 20 ? [] : [`${acknowledged} acknowledged writes say nothing`]),
    ...(pauseSeconds <= fault.limitSeconds ? [] : [`none acknowledged for ${pauseSeconds} s`]),
    ...(doubled === 0 ? [] : [`${doubled} doubled`]),
    ...(lost === 0 ? [] : [`${lost} lost`]),
    ...(fault.unseen && failed > 0 ? [`${failed} refused`] : []),
  ];
}
