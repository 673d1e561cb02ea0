/** What the data stands on fills up or goes away: the disks of Postgres, the store of its backups. */
import { execFile } from "node:child_process";
import { rm, statfs } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import type { V1PersistentVolumeClaimList, V1PodList } from "@kubernetes/client-node";
import { expect } from "vitest";
import { mountPoint } from "../../local/node/volumes.ts";
import { message } from "../../local/system.ts";
import { inStore } from "../cluster/backupStore.ts";
import { get, inDatabase, kubectl, postgresPrimary, runJob, waitFor } from "../cluster/support.ts";
import { raised } from "./alerts.ts";
import { kill, whilePartitioned } from "./node.ts";
import { postgresHealthy } from "./postgres.ts";
import { duringWrites, type Outcome } from "./writes.ts";

const execute = promisify(execFile);
const diskAlert = "DiskAlmostFull";
const storeAlert = "BackupStoreUnreachable";
const heldMilliseconds = 20_000;
const segmentsUnsent = 3;
/** More than a server keeps ready of its log (`min_wal_size`). */
const segmentsAtMost = 64;

/**
 * The volumes of all members are filled to the last byte, as what is replicated fills them, and new segments of the log are
 * wanted until there is none. The alert comes; once there is room again, writes must be acknowledged, and indexes and tables be whole.
 */
export async function postgresDisksFull(): Promise<Outcome> {
  await postgresHealthy();
  await raised(diskAlert, false);
  const fillers = (await postgresVolumes()).map((volume) => `${mountPoint(volume)}/filler`);
  const outcome = await duringWrites(async () => {
    try {
      for (const filler of fillers) await fill(filler);
      await useUpLog();
      await raised(diskAlert, true);
      await sleep(heldMilliseconds);
    } finally {
      for (const filler of fillers) await rm(filler, { force: true });
    }
    return Date.now();
  });
  await postgresHealthy();
  const check = ["pg_amcheck", "--install-missing", "--host=/run/patroni", "--username=postgres", "app"];
  await kubectl("exec", "--namespace=data", await postgresPrimary(), "--container=patroni", "--", ...check);
  // The role that restores may not make it, so no dump with it could be restored.
  await inDatabase(await postgresPrimary(), "drop extension amcheck", "app");
  return outcome;
}

/** The store of the backups hears nobody: a backup says so, its alert comes, writes go on; afterwards a backup is made. */
export async function backupStoreAway(): Promise<Outcome> {
  await raised(storeAlert, false);
  const store = await storePod();
  const outcome = await duringWrites(() =>
    whilePartitioned("data", store, async () => {
      // It gives up after four connections of up to 20 s each, and the minute that it waits between them.
      const refused = await runJob("data", "cronjob/backup-hourly", {}, 240);
      expect(refused.succeeded).toBe(false);
      expect(refused.result["message"]).toMatch(/^the blob store refused: /);
      await raised(storeAlert, true);
    }),
  );
  const made = await runJob("data", "cronjob/backup-hourly");
  expect(made).toMatchObject({ succeeded: true, result: { ok: true } });
  return outcome;
}

/**
 * The primary is lost with its volume while the store of the backups hears nobody: the segments of the log that it had not sent are
 * sent by the next one.
 */
export async function primaryLostUnsent(): Promise<Outcome> {
  await postgresHealthy();
  const [store, old] = [await storePod(), await postgresPrimary()];
  const unsent: string[] = [];
  const outcome = await duringWrites(() =>
    whilePartitioned("data", store, async () => {
      for (let segment = 0; segment < segmentsUnsent; segment += 1) {
        unsent.push(...(await inDatabase(old, "select pg_walfile_name(pg_switch_wal())")).flat());
        await sleep(2000);
      }
      await kubectl("delete", "persistentvolumeclaim", "--namespace=data", `data-${old}`, "--wait=false");
      await kill("data", old);
      await waitFor("another primary", 60, async () => {
        expect(await postgresPrimary()).not.toBe(old);
      });
      await sleep(heldMilliseconds);
    }),
  );
  await postgresHealthy();
  await waitFor(`${unsent.join(", ")} in the store`, 180, async () => {
    const program = [
      "held = {blob.name.rpartition('/')[2] for blob in container.list_blobs(name_starts_with='wal/')}",
      "missing = [name for name in os.environ['SEGMENTS'].split(',') if f'{name}.zst' not in held]",
      "print(json.dumps({'missing': missing}))",
      "if missing: sys.exit(1)",
    ];
    expect(await inStore(program, { SEGMENTS: unsent.join(",") })).toMatchObject({ succeeded: true });
  });
  return outcome;
}

/** What is kept ready of the log is used up, and the server cannot go on without it: it answers an error, or nobody. */
async function useUpLog(): Promise<void> {
  const member = await postgresPrimary();
  for (let segment = 0; segment < segmentsAtMost; segment += 1) {
    const written = "select pg_logical_emit_message(true, 'chaos', 'full'), pg_switch_wal(); checkpoint";
    const said = await inDatabase(member, written).then(() => "written", message);
    if (said !== "written") {
      process.stdout.write(
        `after ${segment} further segments of the log: ${said.trim().split("\n").at(-1)}\n`,
      );
      return;
    }
  }
  throw new Error(`Postgres still writes its log after ${segmentsAtMost} segments on a full volume`);
}

async function storePod(): Promise<string> {
  const selector = "--selector=app.kubernetes.io/name=azurite";
  const { items } = (await get("pods", "--namespace=data", selector)) as V1PodList;
  return items[0]?.metadata?.name ?? "";
}

/** Names of the volumes that the members' claims are bound to. */
async function postgresVolumes(): Promise<string[]> {
  const { items } = (await get("persistentvolumeclaims", "--namespace=data")) as V1PersistentVolumeClaimList;
  return items.flatMap(({ metadata, spec }) =>
    /-postgres-\d+$/.test(metadata?.name ?? "") ? [spec?.volumeName ?? ""] : [],
  );
}

async function fill(filler: string): Promise<void> {
  const { bavail, bsize } = await statfs(filler.slice(0, filler.lastIndexOf("/")));
  // The last blocks are for the extents themselves; what is then left is filled until nothing goes in any more.
  await execute("fallocate", ["--length", String((bavail - 64) * bsize), filler]).catch(() => undefined);
  await execute("dd", ["if=/dev/zero", `of=${filler}`, "bs=4096", "oflag=append", "conv=notrunc"]).catch(
    () => undefined,
  );
}
