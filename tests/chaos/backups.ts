/** Somebody who can write to the store of the backups damages the newest one. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import { restore } from "../../local/restore.ts";
import { message } from "../../local/system.ts";
import { damaged, damages, removed, type Damage } from "../cluster/backupStore.ts";
import { generations, runJob } from "../cluster/support.ts";
import { raised } from "./alerts.ts";
import { duringWrites, type Outcome } from "./writes.ts";

const alert = "BackupVerificationFailed";

/**
 * In every way that there is, one after the other: the verification names it, the alert comes, and a restore is refused with the
 * service going on as it was. Afterwards a new backup is made and verified, and the alert goes.
 */
export async function backupDamaged(): Promise<Outcome> {
  await verified();
  await raised(alert, false);
  const outcome = await duringWrites(async () => {
    for (const damage of damages) {
      await hourlyNotDue();
      const backup = await newBackup();
      try {
        expect(await damaged(damage, backup, backup)).toMatchObject({ succeeded: true });
        const verification = await runJob("data", "cronjob/backup-verify");
        expect(verification).toMatchObject({ succeeded: false, result: { backup } });
        expect(verification.result["message"]).toMatch(damage.noticed);
        await raised(alert, true);
        await refused(damage);
      } finally {
        await removed(`dumps/${backup}`);
      }
    }
  });
  await verified();
  await raised(alert, false);
  return outcome;
}

/** The stack's own backup, at minute 7, would be newer than the one that is damaged. */
async function hourlyNotDue(): Promise<void> {
  while ([5, 6, 7].includes(new Date().getMinutes())) await sleep(1000);
}

async function newBackup(): Promise<string> {
  // Of a kind that is restored whole.
  const made = await runJob("data", "cronjob/backup-daily");
  expect(made).toMatchObject({ succeeded: true });
  return String(made.result["backup"]);
}

async function verified(): Promise<void> {
  const backup = await newBackup();
  expect(await runJob("data", "cronjob/backup-verify")).toMatchObject({
    succeeded: true,
    result: { backup },
  });
}

async function refused({ noticed, closes }: Damage): Promise<void> {
  const before = await generations();
  const said = await restore({ from: "latest", toTime: "", stack: "dev", confirmed: true }).then(
    () => "restored",
    (error: unknown) => message(error),
  );
  expect(said).toMatch(noticed);
  expect(said).toMatch(closes ? /goes on with the data that it had/ : /Nothing was changed/);
  expect(await generations()).toEqual(before);
}
