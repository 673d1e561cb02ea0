/**
 * `make dr-drill`: the whole of a disaster, on this machine's dev stack. Rows are loaded and written, a backup is made, all of
 * the data tier is destroyed and brought up empty, the backup is restored and compared. Prints what was lost and how long it took.
 */
import { readFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { json } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { kubectl, type Cluster } from "./cluster.ts";
import { dropDatabase, inServiceSql, open, volumeBytes } from "./database.ts";
import { withoutRelease } from "./delivery/noRelease.ts";
import { edgeUrl } from "./devSettings.ts";
import { caPath } from "./identity.ts";
import { interruptible } from "./interruptible.ts";
import { runJob } from "./jobs.ts";
import { loadDocuments } from "./drDrillLoad.ts";
import { restoreFrom, type Names } from "./restore.ts";
import { checkRoom, makePlan, sourceOf, type Source } from "./restorePlan.ts";
import { message, say, UserError } from "./system.ts";
import { developmentToken } from "./token.ts";
import { knownEngine, pulumiUp, withKubeconfig } from "./up.ts";

const tenant = "dr-drill";
const stores = ["postgres", "redis-queue", "redis-cache"];
/** How long writes go on after the backup: what the drill must be seen to lose. */
const writesAfterBackupMs = 5_000;

interface Write {
  readonly id: string;
  readonly at: number;
}

/** @param kib - size of each loaded document's content, KiB; empty: a few words. */
export async function drDrill(rows: string, kib: string): Promise<void> {
  if (!/^[1-9]\d{0,7}$/.test(rows))
    throw new UserError(`ROWS is "${rows}" and may be 1 to 99999999: make dr-drill ROWS=20000`);
  // As much as the app takes.
  if (!/^([1-9]|[1-8]\d|9[0-7])?$/.test(kib))
    throw new UserError(`KIB is "${kib}" and may be 1 to 97: make dr-drill ROWS=20000 KIB=64`);
  await withoutRelease("dev", (cluster) => drill(cluster, rows, kib));
}

async function drill(cluster: Cluster, rows: string, kib: string): Promise<void> {
  if (cluster.kind === "existing")
    throw new UserError(
      `The drill destroys the data tier; it does so only on a cluster that \`make up\` made, not on ${cluster.context}.`,
    );
  say("Bringing up what a drill that was cut off has left…");
  await bringUp(cluster);
  await open(cluster);

  say(`Loading ${rows} documents of the tenant ${tenant}…`);
  await loadDocuments(cluster, tenant, Number(rows), Number(kib));
  const loaded = await fingerprint(cluster);
  const writer = new Writer();
  const writing = writer.run();
  const backup = await (async () => {
    try {
      await sleep(2_000);
      say("Making a backup while documents are being written…");
      const name = `dr-drill-${Date.now()}`;
      const made = await runJob({ cluster, namespace: "data", source: "cronjob/backup-hourly", name });
      await sleep(writesAfterBackupMs);
      return String(made["backup"]);
    } finally {
      writer.stop();
      await writing;
    }
  })();

  say("Asking whether it could be restored, before anything is destroyed…");
  const source = sourceOf({ from: backup, toTime: "" }, new Date());
  const plan = await makePlan(cluster, source, String(Date.now()));
  // The volume will be empty.
  checkRoom(plan, (await volumeBytes(cluster)).all);
  const destroyedAt = Date.now();
  const { aside } = await loseAndRestore(cluster, source);
  const kept = await survivors(cluster);
  const newest = writer.acknowledged.filter(({ id }) => kept.has(id)).at(-1);
  if (newest === undefined) throw new UserError("None of the documents written before the backup came back.");
  await firstRead(newest.id);
  const recoverySeconds = (Date.now() - destroyedAt) / 1000;

  say("Comparing…");
  const restored = await fingerprint(cluster);
  if (restored !== loaded) throw new UserError(`The restored rows differ: ${restored}, not ${loaded}.`);
  const lost = writer.acknowledged.filter(({ id }) => !kept.has(id));
  const early = lost.filter(({ at }) => at < newest.at);
  if (early.length > 0)
    throw new UserError(
      `${early.length} documents are missing that were written before the backup's moment.`,
    );
  const size = (
    await inServiceSql(cluster, "select pg_size_pretty(pg_database_size(current_database()))")
  ).trim();
  const lossSeconds = (destroyedAt - newest.at) / 1000;
  await tidyUp(cluster, aside);
  process.stdout.write(
    `\n${rows} loaded rows and ${kept.size} of ${writer.acknowledged.length} acknowledged writes are back, each as it was: ${size}.\n` +
      `RPO ${lossSeconds.toFixed(1)} s: ${lost.length} writes were acknowledged between the backup's moment and the disaster.\n` +
      `RTO ${recoverySeconds.toFixed(1)} s: from the disaster to the first document read through the edge.\n`,
  );
}

/** Of the loaded rows: how many, and a sum over a hash of each, which takes no memory however many they are. */
async function fingerprint(cluster: Cluster): Promise<string> {
  const sum = "sum(hashtextextended(d::text, 0))";
  return (
    await inServiceSql(cluster, `select count(*), ${sum} from documents d where created_by = 'loader'`)
  ).trim();
}

/** Ids of the writer's documents that are there. */
async function survivors(cluster: Cluster): Promise<Set<string>> {
  const mine = `tenant_id = (select id from tenants where name = '${tenant}') and created_by <> 'loader'`;
  return new Set(
    (await inServiceSql(cluster, `select id from documents where ${mine}`)).split("\n").filter(Boolean),
  );
}

/** Creates documents through the edge, five a second, and remembers those that were acknowledged. */
class Writer {
  readonly acknowledged: Write[] = [];
  #running = true;

  async run(): Promise<void> {
    let token = await editorToken();
    for (let number = 1; this.#running; number += 1) {
      const body = { title: `Written ${number}`, content: "during the drill" };
      const { status, answer } = await ask("POST", "/api/v1/documents", token, body);
      // A token holds a quarter of an hour, and the backup of a large database takes longer.
      if (status === 401) token = await editorToken();
      const { id } = answer as { id?: string };
      if (status === 201 && id !== undefined) this.acknowledged.push({ id, at: Date.now() });
      await sleep(200);
    }
  }

  stop(): void {
    this.#running = false;
  }
}

/** What ends it half-way says how to come to the end; that is said before it begins, too, as a killed one says nothing. */
export async function loseAndRestore(cluster: Cluster, backup: Source): Promise<Names> {
  const wayBack = `\`make up\` (with HA=1 or LOGS=1 if it had them), then \`make restore FROM=${backup.name} CONFIRM=yes\``;
  say(`Destroying ${stores.join(", ")}: servers, volumes and Patroni's memory of them…`);
  say(`Should this be cut off: ${wayBack}`);
  try {
    await interruptible(async (signal) => {
      const unlessInterrupted = (): void => {
        signal.throwIfAborted();
      };
      await destroy(cluster).finally(unlessInterrupted);
      say("Bringing the data tier up, empty…");
      await bringUp(cluster).finally(unlessInterrupted);
    });
    return await restoreFrom(backup, cluster, { confirmed: true, stack: "dev" });
  } catch (error) {
    throw new UserError(
      `${message(error)}\nThe data tier was destroyed, in part or whole. What is missing is made again, empty, and the data restored, ` +
        `by ${wayBack}.`,
    );
  }
}

/** Ends wherever it is cut off with what can start: an empty server would wait for the leader whom Patroni remembers. */
async function destroy(cluster: Cluster): Promise<void> {
  const inData = "--namespace=data";
  const ofStores = `--selector=app.kubernetes.io/name in (${stores.join(", ")})`;
  const deletion = ["--ignore-not-found", "--timeout=120s"];
  // Their volumes would go with them.
  await kubectl(cluster, ["delete", "statefulsets", inData, ...stores, "--cascade=orphan", ...deletion]);
  await kubectl(cluster, ["delete", "pods", inData, ofStores, ...deletion]);
  // Where Patroni keeps which cluster this was, and who led it.
  const memory = ["postgres", "postgres-config", "postgres-failover", "postgres-sync"];
  await kubectl(cluster, ["delete", "endpoints", inData, ...memory, ...deletion]);
  await kubectl(cluster, ["delete", "persistentvolumeclaims", inData, ofStores, ...deletion]);
}

/** The engine finds that servers are gone, and makes them again. */
async function bringUp(cluster: Cluster): Promise<void> {
  await pulumiUp(withKubeconfig({ engine: await knownEngine(), cluster }));
}

const editorToken = () => developmentToken("editor", tenant);

/** Waits until a document is readable by whoever uses the service. */
async function firstRead(id: string): Promise<void> {
  const token = await editorToken();
  const deadline = Date.now() + 60_000;
  for (;;) {
    const { status } = await ask("GET", `/api/v1/documents/${id}`, token);
    if (status === 200) return;
    if (Date.now() > deadline)
      throw new UserError(`The document ${id} could not be read through the edge (${status}).`);
    await sleep(200);
  }
}

/** The drill's own rows, and the generation that was empty. */
async function tidyUp(cluster: Cluster, aside: string): Promise<void> {
  await inServiceSql(
    cluster,
    `delete from documents where tenant_id = (select id from tenants where name = '${tenant}')`,
  );
  await dropDatabase(cluster, aside);
}

const agent = new Agent({ keepAlive: true });

/** One request through the edge; status 0 if there was no answer. */
async function ask(
  method: string,
  path: string,
  token: string,
  body?: object,
): Promise<{ status: number; answer: unknown }> {
  const headers = { Authorization: `Bearer ${token}`, ...(body && { "Content-Type": "application/json" }) };
  const url = await edgeUrl();
  return new Promise((resolve) => {
    const none = () => {
      resolve({ status: 0, answer: {} });
    };
    const options = { method, headers, agent, ca: readFileSync(caPath()), timeout: 10_000 };
    const sending = request(`${url}${path}`, options, (response) => {
      json(response).then((answer) => {
        resolve({ status: response.statusCode ?? 0, answer });
      }, none);
    });
    sending.on("timeout", () => sending.destroy());
    sending.on("error", none);
    sending.end(body && JSON.stringify(body));
  });
}
