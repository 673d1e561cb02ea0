import { execFile } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";
import { damaged, damages, removed } from "./backupStore.ts";
import {
  Client,
  createDocument,
  documentOf,
  generations,
  idsOf,
  inDatabase,
  postgresPrimary,
  removeDocument,
  runJob,
  tenants,
  token,
  waitFor,
} from "./support.ts";

const [tenant] = tenants;
const repository = join(import.meta.dirname, "..", "..");

interface Ended {
  readonly status: number;
  readonly output: string;
}

/** `make restore` as a person types it. */
function restore(...variables: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const options = { cwd: repository, timeout: 280_000 };
    execFile("make", ["-s", "restore", ...variables], options, (error, stdout, stderr) => {
      const code = error?.code;
      resolve({ status: typeof code === "number" ? code : error ? 1 : 0, output: stdout + stderr });
    });
  });
}

/** The one value that the superuser is answered; empty where there is none. */
async function sql(query: string): Promise<string> {
  return (await inDatabase(await postgresPrimary(), query))[0]?.[0] ?? "";
}

test("a backup becomes the database in service, what came later stays aside, and the plan comes first", async () => {
  const client = new Client();
  const editor = await token("editor", tenant);
  const before = await createDocument(client, tenant);
  const backup = await runJob("data", "cronjob/backup-hourly");
  expect(backup).toMatchObject({ succeeded: true });
  const made = String(backup.result["backup"]);
  const after = await createDocument(client, tenant);

  const untouched = await generations();
  const planned = await restore(`FROM=${made}`);
  expect(planned.status).toBe(0);
  expect(planned.output).toMatch(new RegExp(`Restore ${made} on[^]*nothing was changed[^]*CONFIRM=yes`));
  expect(await generations()).toEqual(untouched);

  const restored = await restore(`FROM=${made}`, "CONFIRM=yes");
  expect(restored.status, restored.output).toBe(0);
  const steps = ["stop", "restore and check", "switch", "start", "connectivity"];
  expect([...restored.output.matchAll(/\] (.*): ok,/g)].map(([, step]) => step)).toEqual(steps);

  const list = await waitFor("the list", 30, async () => {
    const answer = await client.get("/api/v1/documents", { token: editor });
    expect(answer.status).toBe(200);
    return idsOf(answer);
  });
  expect(list).toContain(before.id);
  expect(list).not.toContain(after.id);
  expect(documentOf(await client.get(`/api/v1/documents/${before.id}`, { token: editor }))).toEqual(before);
  // Row-level security came along, too.
  const other = await client.get(`/api/v1/documents/${before.id}`, {
    token: await token("editor", tenants[1]),
  });
  expect(other.status).toBe(404);

  const aside = /app_before_\d+/.exec(restored.output)?.[0] ?? "";
  expect(await sql(`select datallowconn from pg_database where datname = '${aside}'`)).toBe("f");
  await sql(`alter database ${aside} with allow_connections true`);
  const [[found] = []] = await inDatabase(
    await postgresPrimary(),
    `select count(*) from documents where id = '${after.id}'`,
    aside,
  );
  expect(found).toBe("1");
  await sql(`drop database ${aside} with (force)`);
  await removeDocument(client, tenant, before);
});

test("what was deleted by mistake comes back with the database of the moment before, and the plan comes first", async () => {
  const client = new Client();
  const editor = await token("editor", tenant);
  const base = await runJob("data", "cronjob/backup-base");
  expect(base).toMatchObject({ succeeded: true });
  const name = String(base.result["backup"]);
  const kept = await createDocument(client, tenant);
  const moment = await sql(
    "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')",
  );
  await removeDocument(client, tenant, kept);
  const later = await createDocument(client, tenant);

  const untouched = await generations();
  const planned = await waitFor("the moment in the archive", 60, async () => {
    await sql("select pg_switch_wal()");
    const plan = await restore("FROM=latest", `TO_TIME=${moment}`);
    expect(plan.status, plan.output).toBe(0);
    return plan;
  });
  expect(planned.output).toMatch(
    new RegExp(`from ${name}, [^]*nothing was changed[^]*FROM=${name} TO_TIME=${moment} CONFIRM=yes`),
  );
  expect(await generations()).toEqual(untouched);

  const restored = await restore(`TO_TIME=${moment}`, "CONFIRM=yes");
  expect(restored.status, restored.output).toBe(0);
  const list = await waitFor("the list", 30, async () => {
    const answer = await client.get("/api/v1/documents", { token: editor });
    expect(answer.status).toBe(200);
    return idsOf(answer);
  });
  expect(list).toContain(kept.id);
  expect(list).not.toContain(later.id);
  const aside = /app_before_\d+/.exec(restored.output)?.[0] ?? "";
  await sql(`drop database ${aside} with (force)`);
  await removeDocument(client, tenant, kept);
});

test.each([
  {
    moment: "2020-01-01T00:00:00Z",
    reason: /missing: (no base backup is as old as 2020-01-01|the container holds no base)/,
  },
  { moment: "2200-01-01T00:00:00Z", reason: /which is yet to come/ },
  { moment: "yesterday", reason: /TO_TIME is "yesterday" and may be a time with its zone/ },
])("TO_TIME=$moment is refused with the reason, and nothing is touched", async ({ moment, reason }) => {
  const untouched = await generations();
  const refused = await restore("FROM=latest", `TO_TIME=${moment}`, "CONFIRM=yes");
  expect(refused.status).not.toBe(0);
  expect(refused.output).toMatch(reason);
  expect(await generations()).toEqual(untouched);
});

test.each([
  { from: "hourly/20200101T000700Z", reason: /missing: dumps\/hourly\/20200101T000700Z.json is not in/ },
  { from: "yesterday", reason: /FROM is "yesterday" and may be latest, or a backup as/ },
])("FROM=$from is refused with the reason, and nothing is touched", async ({ from, reason }) => {
  const untouched = await generations();
  const refused = await restore(`FROM=${from}`, "CONFIRM=yes");
  expect(refused.status).not.toBe(0);
  expect(refused.output).toMatch(reason);
  expect(await generations()).toEqual(untouched);
});

test("a backup whose bytes were altered is refused before the service stops", async () => {
  const backup = await runJob("data", "cronjob/backup-hourly");
  const copy = String(backup.result["backup"]).replace("hourly/", "altered/");
  const [altered] = damages;
  if (altered === undefined) throw new Error("no damage is known");
  const untouched = await generations();
  try {
    expect(await damaged(altered, String(backup.result["backup"]), copy)).toMatchObject({ succeeded: true });
    const refused = await restore(`FROM=${copy}`, "CONFIRM=yes");
    expect(refused.status).not.toBe(0);
    expect(refused.output).toMatch(altered.noticed);
    expect(refused.output).toMatch(/Nothing was changed/);
    expect(await generations()).toEqual(untouched);
  } finally {
    await removed(`dumps/${copy}`);
  }
});
