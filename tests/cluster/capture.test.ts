/** What somebody hears who listens to a node's network while the stack works: no secret, and nothing that users write. */
import type { V1Pod, V1SecretList } from "@kubernetes/client-node";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import {
  Client,
  documentOf,
  get,
  killPods,
  kubectl,
  kubectlCommand,
  kubectlWith,
  readyPods,
  removeDocument,
  replaced,
  runJob,
  stackNamespaces,
  tenants,
  token,
  waitFor,
} from "./support.ts";

const [tenant] = tenants;
/** Not the stack's: its pods may not do what listening takes. */
const namespace = "cluster-tests-capture";
/** What Prometheus says of itself with every scrape: those are not encrypted, and show that there was something to hear. */
const control = "User-Agent: Prometheus";
const program = readFileSync(join(import.meta.dirname, "capture.py"), "utf8");
const shortestSecret = 16;

beforeAll(async () => {
  const { spec } = (await get("pod", "--namespace=data", "postgres-0")) as V1Pod;
  const container = {
    name: "capture",
    // Has Python, and is there already.
    image: spec?.containers[0]?.image,
    command: ["sleep", "infinity"],
    securityContext: { runAsUser: 0, capabilities: { drop: ["ALL"], add: ["NET_RAW", "NET_ADMIN"] } },
  };
  const labels = { "pod-security.kubernetes.io/enforce": "privileged" };
  const objects = [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace, labels } },
    {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "capture", namespace },
      spec: {
        hostNetwork: true,
        nodeName: spec?.nodeName,
        terminationGracePeriodSeconds: 0,
        containers: [container],
      },
    },
  ];
  for (const object of objects) await kubectlWith(JSON.stringify(object), "apply", "--filename=-");
  await kubectl("wait", "--for=condition=Ready", `--namespace=${namespace}`, "pod/capture", "--timeout=60s");
});

afterAll(async () => {
  await kubectl("delete", "namespace", namespace, "--ignore-not-found");
});

/** Texts by which each secret of the stack would be known: itself, or the first line of a private key. */
async function secrets(): Promise<Map<string, string>> {
  const texts = new Map<string, string>();
  for (const of of stackNamespaces) {
    const { items } = (await get("secrets", `--namespace=${of}`)) as V1SecretList;
    for (const { metadata, data } of items) {
      for (const [file, encoded] of Object.entries(data ?? {})) {
        const value = Buffer.from(encoded, "base64").toString().trim();
        const [, key] = /-----BEGIN [A-Z ]*PRIVATE KEY-----\n(\S+)/.exec(value) ?? [];
        if (key === undefined && value.startsWith("-----BEGIN")) continue;
        const text = key ?? value;
        if (text.length >= shortestSecret) texts.set(text, `${metadata?.name ?? ""}/${file}`);
      }
    }
  }
  return texts;
}

/** How many packets held each text while `work` went on. */
async function heard(texts: readonly string[], work: () => Promise<void>): Promise<readonly number[]> {
  const command = ["exec", "--stdin", `--namespace=${namespace}`, "capture", "--", "python3", "-c", program];
  const [kubectlPath, args] = kubectlCommand(...command);
  const listening = spawn(kubectlPath, args, { stdio: ["pipe", "pipe", "inherit"] });
  try {
    const lines = createInterface(listening.stdout)[Symbol.asyncIterator]();
    listening.stdin.write(`${JSON.stringify(texts)}\n`);
    expect((await lines.next()).value).toBe("capturing");
    await work();
    listening.stdin.end();
    const result = z.object({ found: z.array(z.number()), unseen: z.number() });
    const { found, unseen } = result.parse(JSON.parse((await lines.next()).value ?? ""));
    expect(unseen).toBe(0);
    await once(listening, "exit");
    return found;
  } finally {
    listening.kill();
  }
}

test("who listens to the node's network hears no secret, and nothing that users write", async () => {
  const known = await secrets();
  expect(known.size).toBeGreaterThan(10);
  const client = new Client();
  const bearer = await token("editor", tenant);
  const body = { title: "Nobody may hear this title", content: "and nobody what is written under it" };
  const texts = [control, bearer, body.title, body.content, ...known.keys()];
  const found = await heard(texts, async () => {
    // All that signs in somewhere when it starts.
    for (const workload of ["app", "worker"]) {
      const before = await readyPods(workload);
      await killPods("app", workload);
      await replaced(workload, before, 90);
    }
    const written = await waitFor("a document", 30, async () => {
      const answer = await client.send("POST", "/api/v1/documents", { token: bearer, body });
      expect(answer.status).toBe(201);
      return documentOf(answer);
    });
    const read = await client.get(`/api/v1/documents/${written.id}`, { token: bearer });
    expect(documentOf(read)).toEqual(written);
    expect((await runJob("data", "cronjob/backup-hourly")).succeeded).toBe(true);
    // The prober signs in with a password every half minute.
    await waitFor("a round of the prober", 60, async () => {
      const newest = await kubectl("logs", "--namespace=edge", "deploy/edge", "--since=10s");
      expect(newest).toContain("/api/v2/auth/sign-in");
    });
    await removeDocument(client, tenant, written);
  });
  const [scrapes, ...others] = found;
  expect(scrapes).toBeGreaterThan(0);
  const names = ["the bearer token", "a document's title", "its content", ...known.values()];
  expect(names.filter((_, index) => others[index] !== 0)).toEqual([]);
});
