import type { V1ConfigMap, V1Deployment, V1Pod } from "@kubernetes/client-node";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  ask,
  Client,
  createDocument,
  documentOf,
  get,
  idsOf,
  inDatabase,
  killPods,
  kubectl,
  kubectlWith,
  postgresPrimary,
  readyPods,
  removeDocument,
  replaced,
  tenants,
  token,
  waitFor,
  type Document,
} from "./support.ts";

const [tenant] = tenants;

describe("a killed pod comes back:", () => {
  let client: Client;
  let document: Document;
  let path: string;
  let editor: string;

  beforeEach(async () => {
    client = new Client();
    editor = await token("editor", tenant);
    // The pods of the test before have just come back, and what waited for them may not be ready yet.
    document = await waitFor("a document", 30, async () => {
      expect(await readyPods("app")).not.toEqual([]);
      return createDocument(client, tenant);
    });
    path = `/api/v1/documents/${document.id}`;
  });

  afterEach(async () => {
    await removeDocument(client, tenant, document);
  });

  test("the app's, and the service answers", async () => {
    const before = await readyPods("app");
    expect(before).not.toEqual([]);
    await killPods("app", "app");
    await replaced("app", before, 90);
    const { spec, status } = (await get("--namespace=app", "deployment", "app")) as V1Deployment;
    expect(status?.readyReplicas).toBe(spec?.replicas);
    await waitFor("an answer of the new pod", 30, async () => {
      expect((await client.get("/ready")).status).toBe(200);
      expect(documentOf(await client.get(path, { token: editor }))).toEqual(document);
    });
  });

  test("Postgres's, with every document, and takes writes within a minute", async () => {
    const before = await readyPods("postgres");
    expect(before).not.toEqual([]);
    const killed = Date.now();
    await killPods("data", "postgres");
    await replaced("postgres", before, 60);
    const body = { title: "Changed", content: "after the restart" };
    await waitFor("reads and writes after the restart", 60 - (Date.now() - killed) / 1000, async () => {
      // The list is never cached.
      const list = await client.get("/api/v1/documents", { token: editor });
      expect(list.status).toBe(200);
      expect(idsOf(list)).toContain(document.id);
      expect((await client.send("PUT", path, { token: editor, body })).status).toBe(200);
    });
    expect(documentOf(await client.get(path, { token: editor }))).toEqual({ id: document.id, ...body });
  });

  test("Postgres's, when only its container ended", async () => {
    const pod = await postgresPrimary();
    const restarts = async (): Promise<number> => {
      const { status } = (await get("--namespace=data", "pod", pod)) as V1Pod;
      const server = status?.containerStatuses?.find(({ name }) => name === "patroni");
      expect(server?.ready).toBe(true);
      return server?.restartCount ?? 0;
    };
    const before = await restarts();
    await kubectl("exec", "--namespace=data", pod, "--container=patroni", "--", "kill", "1");
    await waitFor("its next container", 60, async () => {
      expect(await restarts()).toBe(before + 1);
    });
    await waitFor("the document", 30, async () => {
      expect(documentOf(await client.get(path, { token: editor }))).toEqual(document);
    });
  });

  test("Postgres's, when its server was killed by SIGKILL", async () => {
    const pod = await postgresPrimary();
    const before = await inDatabase(pod, "select pg_postmaster_start_time()");
    const [[directory] = []] = await inDatabase(pod, "show data_directory");
    const kill = `kill -s KILL "$(head -n 1 '${directory}/postmaster.pid')"`;
    await kubectl("exec", "--namespace=data", pod, "--container=patroni", "--", "sh", "-c", kill);
    const body = { title: "Changed", content: "after the restart" };
    await waitFor("another server with the document", 60, async () => {
      expect(await inDatabase(pod, "select pg_postmaster_start_time()")).not.toEqual(before);
      const sql = `select count(*) from documents where id = '${document.id}'`;
      expect(await inDatabase(pod, sql, "app")).toEqual([["1"]]);
      expect((await client.send("PUT", path, { token: editor, body })).status).toBe(200);
    });
  });

  test("Postgres's, and what changed in its settings holds at once, also what is read at the start only", async () => {
    const connections = async (): Promise<number> => {
      const args = ["--host=/run/patroni", "--username=postgres", "-XAtc", "show max_connections"];
      const exec = ["exec", "--namespace=data", await postgresPrimary(), "--container=patroni", "--"];
      return Number(await kubectl(...exec, "psql", ...args));
    };
    const source = ["--namespace=data", "configmap", "postgres-settings"];
    const { metadata, data } = (await get("--show-managed-fields", ...source)) as V1ConfigMap;
    const { name, namespace, labels, managedFields } = metadata ?? {};
    const settings = data?.["cluster.yml"] ?? "";
    const restartedWith = async (changed: string): Promise<void> => {
      const content = { metadata: { name, namespace, labels }, data: { ...data, "cluster.yml": changed } };
      // In the name of the stack, which would be refused a field that somebody else has set since; what it made and never
      // changed is not yet its own by this way of applying.
      const manager = `--field-manager=${managedFields?.[0]?.manager ?? ""}`;
      const object = JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", ...content });
      await kubectlWith(object, "apply", "--server-side", "--force-conflicts", manager, "--filename=-");
      const before = await readyPods("postgres");
      await killPods("data", "postgres");
      await replaced("postgres", before, 60);
    };
    const wanted = (await connections()) + 1;
    try {
      await restartedWith(settings.replace(/max_connections: \d+/, `max_connections: ${wanted}`));
      await waitFor("as many connections", 20, async () => {
        expect(await connections()).toBe(wanted);
      });
    } finally {
      await restartedWith(settings);
    }
  });

  test("Prometheus's, with what it has recorded, and no reader notices", async () => {
    const query = encodeURIComponent('up{job="app"}');
    let earlier = 0;
    const recorded = () => ask("prometheus", `/api/v1/query?query=${query}&time=${earlier}`);
    let shown: unknown;
    // While Postgres was away, the app was not ready, and nobody is asked who is not.
    await waitFor("figures of half a minute ago", 90, async () => {
      earlier = Date.now() / 1000 - 30;
      shown = await recorded();
      expect(shown).toMatchObject({ data: { result: [{ metric: { job: "app" } }] } });
    });
    const before = await readyPods("prometheus");
    await killPods("monitoring", "prometheus");
    expect((await client.get(path, { token: editor })).status).toBe(200);
    await replaced("prometheus", before, 90);
    await waitFor("the same figures", 30, async () => {
      expect(await recorded()).toEqual(shown);
    });
  });

  test("the cache's, and no reader notices", async () => {
    const before = await readyPods("redis-cache");
    expect(before).not.toEqual([]);
    await killPods("data", "redis-cache");
    const statuses: number[] = [];
    let away = true;
    const read = async (): Promise<void> => {
      while (away) {
        statuses.push((await client.get(path, { token: editor })).status);
        // Stays below the client's rate limit.
        await sleep(100);
      }
    };
    const restart = replaced("redis-cache", before, 60).finally(() => {
      away = false;
    });
    await Promise.all([restart, read()]);
    expect(statuses.filter((status) => status !== 200)).toEqual([]);
    expect(statuses.length).toBeGreaterThan(5);
  });
});
