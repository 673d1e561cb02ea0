/** What the tests of the running stack share: clients of the edge, kubectl, tokens, jobs, and patience. */
import type { V1Endpoints, V1Job, V1Pod, V1PodList } from "@kubernetes/client-node";
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import type { IncomingHttpHeaders } from "node:http";
import { Agent, request } from "node:https";
import { text } from "node:stream/consumers";
import { expect, vi } from "vitest";
import { z } from "zod";
import { kubectlProgram } from "../../local/cluster.ts";
import { jobByHand, specOf, type JobChanges, type JobSource } from "../../local/jobs.ts";
import { message } from "../../local/system.ts";

/** Base URL of the edge. */
export const edge = new URL(environment("EDGE_URL"));
/** PEM of the CA that signed the edge's certificate. */
export const ca = readFileSync(environment("EDGE_CA"), "utf8");
export const stackNamespaces = ["edge", "app", "data", "monitoring"];
/** Tenants of the tests' own, so that nobody's documents are touched. */
export const tenants = ["cluster-tests-1", "cluster-tests-2"] as const;

const cluster = ["--kubeconfig", environment("KUBECONFIG"), "--context", environment("KUBE_CONTEXT")];
const kubectlPath = await kubectlProgram();

/** A variable that `make test-cluster` sets. */
export function environment(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set; \`make test-cluster\` sets it`);
  return value;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

interface Sent {
  readonly token?: string;
  readonly body?: object;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A client with an address of its own, from the range kept for documentation, and so with a rate limit of its own. */
export class Client {
  readonly #address = `2001:db8:${randomBytes(2).toString("hex")}:${randomBytes(2).toString("hex")}::1`;
  readonly #agent = new Agent({ ca, keepAlive: true, maxSockets: 20 });

  get(path: string, sent: Sent = {}): Promise<Answer> {
    return this.send("GET", path, sent);
  }

  send(method: string, path: string, { token, body, headers: more }: Sent = {}): Promise<Answer> {
    const headers = {
      ...more,
      "X-Forwarded-For": this.#address,
      ...(token !== undefined && { Authorization: `Bearer ${token}` }),
      ...(body && { "Content-Type": "application/json" }),
    };
    const { hostname, port } = edge;
    return new Promise((resolve, reject) => {
      // Not as a URL: that would tidy up the path.
      const sending = request({ hostname, port, path, method, headers, agent: this.#agent, timeout: 20_000 });
      sending.on("timeout", () => sending.destroy(new Error(`${method} ${path}: no answer within 20 s`)));
      sending.on("error", reject);
      sending.on("response", (response) => {
        text(response).then((received) => {
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: received });
        }, reject);
      });
      sending.end(body && JSON.stringify(body));
    });
  }
}

const documentShape = z.object({ id: z.string(), title: z.string(), content: z.string() });
const listShape = z.object({ items: z.array(z.object({ id: z.string() })) });
export type Document = z.infer<typeof documentShape>;

export function documentOf({ body }: Answer): Document {
  return documentShape.parse(JSON.parse(body));
}

/** Ids of the documents in a list. */
export function idsOf({ body }: Answer): string[] {
  return listShape.parse(JSON.parse(body)).items.map(({ id }) => id);
}

/** A new document of the tenant. */
export async function createDocument(client: Client, tenant: string): Promise<Document> {
  const body = { title: "Written by a test", content: randomBytes(8).toString("hex") };
  const answer = await client.send("POST", "/api/v1/documents", {
    token: await token("editor", tenant),
    body,
  });
  if (answer.status !== 201) throw new Error(`creating a document: ${answer.status} ${answer.body}`);
  return documentOf(answer);
}

export async function removeDocument(client: Client, tenant: string, { id }: Document): Promise<Answer> {
  return client.send("DELETE", `/api/v1/documents/${id}`, { token: await token("admin", tenant) });
}

const tokens = new Map<string, { readonly value: Promise<string>; readonly until: number }>();
/** For so long a token is given again, milliseconds: it holds for 15 minutes, and who got it may use it for most of them. */
const sharedMilliseconds = 120_000;

/** A bearer token, made in the app's pod. */
export function token(role: "admin" | "editor" | "viewer", tenant: string): Promise<string> {
  const command = ["node", "/app/dist/cli/token.js", "--role", role, "--tenant", tenant];
  const key = `${role} ${tenant}`;
  const known = tokens.get(key);
  if (known && Date.now() < known.until) return known.value;
  const value = kubectl("exec", "--namespace=app", "deploy/app", "--", ...command).then((out) => out.trim());
  tokens.set(key, { value, until: Date.now() + sharedMilliseconds });
  return value;
}

/** The command line of kubectl with these arguments, for a process of one's own. */
export function kubectlCommand(...args: readonly string[]): [string, string[]] {
  return [kubectlPath, [...cluster, ...args]];
}

/** Runs kubectl and gives what it printed; an error carries what it said. */
export function kubectl(...args: readonly string[]): Promise<string> {
  return kubectlWith("", ...args);
}

/** The same with something on its standard input. */
export function kubectlWith(input: string, ...args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { maxBuffer: 64 << 20, timeout: 120_000 };
    const child = execFile(kubectlPath, [...cluster, ...args], options, (error, stdout, stderr) => {
      if (error) reject(new Error(`kubectl ${args.join(" ")}: ${stderr || error.message}`));
      else resolve(stdout);
    });
    // It may end before it has read this, and then says why by itself.
    child.stdin?.on("error", () => undefined).end(input);
  });
}

/** Objects as the API server has them. */
export async function get(...args: readonly string[]): Promise<unknown> {
  return JSON.parse(await kubectl("get", "--output=json", ...args));
}

/** What a web interface inside the cluster answers. */
export async function ask(
  service: "prometheus" | "alertmanager" | "loki" | "jaeger",
  path: string,
): Promise<unknown> {
  const proxy = `/api/v1/namespaces/monitoring/services/${service}:http/proxy`;
  return JSON.parse(await kubectl("get", "--raw", `${proxy}${path}`));
}

/** Every pod of the stack that is not on its way out. */
export async function stackPods(): Promise<V1Pod[]> {
  const { items } = (await get("pods", "--all-namespaces")) as V1PodList;
  return items.filter(
    ({ metadata }) =>
      stackNamespaces.includes(metadata?.namespace ?? "") && metadata?.deletionTimestamp === undefined,
  );
}

export function nameOf({ metadata }: V1Pod): string {
  return `${metadata?.namespace ?? ""}/${metadata?.name ?? ""}`;
}

/** Name of a workload that a pod belongs to. */
export function workloadOf({ metadata }: V1Pod): string {
  return metadata?.labels?.["app.kubernetes.io/name"] ?? "";
}

/** Name of the database pod that holds the leader's lock; a pod that is cut off may still bear its label. */
export async function postgresPrimary(): Promise<string> {
  const { metadata } = (await get("endpoints", "--namespace=data", "postgres")) as V1Endpoints;
  const leader = metadata?.annotations?.["leader"];
  if (leader === undefined) throw new Error("No database pod holds the leader's lock");
  return leader;
}

/** What the superuser of a member is answered, inside its pod; rows of columns. */
export async function inDatabase(pod: string, sql: string, database = "postgres"): Promise<string[][]> {
  const psql = [
    "psql",
    "-XAtq",
    "-v",
    "ON_ERROR_STOP=1",
    "-h",
    "/run/patroni",
    "-U",
    "postgres",
    "-d",
    database,
  ];
  const out = await kubectl("exec", "--namespace=data", pod, "--container=patroni", "--", ...psql, "-c", sql);
  return out
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.split("|"));
}

/** Every database of the server, which a restore that is refused leaves as they were. */
export async function generations(): Promise<string[][]> {
  const sql = "select datname, oid, datallowconn from pg_database order by 1";
  return inDatabase(await postgresPrimary(), sql);
}

/** UIDs of a workload's pods that are ready to serve. */
export async function readyPods(workload: string): Promise<string[]> {
  return (await readyPodsOf(workload)).map(({ metadata }) => metadata?.uid ?? "");
}

/** Those pods themselves. */
export async function readyPodsOf(workload: string): Promise<V1Pod[]> {
  const pods = (await stackPods()).filter((pod) => workloadOf(pod) === workload);
  return pods.filter(({ status }) =>
    status?.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True"),
  );
}

/** Deletes every pod of a workload, without waiting for them to go. */
export async function killPods(namespace: string, workload: string): Promise<void> {
  const selector = `--selector=app.kubernetes.io/name=${workload}`;
  await kubectl("delete", "pods", `--namespace=${namespace}`, selector, "--wait=false");
}

/** Waits until none of these pods of a workload is ready and as many others are. */
export async function replaced(
  workload: string,
  before: readonly string[],
  timeoutSeconds: number,
): Promise<void> {
  await waitFor(`another pod of ${workload}`, timeoutSeconds, async () => {
    const now = await readyPods(workload);
    expect(now.length).toBeGreaterThanOrEqual(before.length);
    expect(now.filter((uid) => before.includes(uid))).toEqual([]);
  });
}

/** Waits until a Deployment has none but the pods of its present template. */
export async function settled(namespace: string, workload: string): Promise<void> {
  const inNamespace = `--namespace=${namespace}`;
  await kubectl("rollout", "status", inNamespace, `deployment/${workload}`, "--timeout=110s");
  // A pod on its way out still answers for some seconds, with what it had.
  await waitFor(`the end of the old pods of ${workload}`, 60, async () => {
    const selector = `--selector=app.kubernetes.io/name=${workload}`;
    const { items } = (await get("pods", inNamespace, selector)) as V1PodList;
    expect(items.filter(({ metadata }) => metadata?.deletionTimestamp)).toEqual([]);
  });
}

/** Tries until the check throws no more; in the end its last error says what was missing. */
export async function waitFor<T>(
  what: string,
  timeoutSeconds: number,
  check: () => T | Promise<T>,
): Promise<T> {
  try {
    return await vi.waitFor(check, { timeout: timeoutSeconds * 1000, interval: 500 });
  } catch (error) {
    throw new Error(`${what}: not within ${timeoutSeconds} s. ${message(error)}`, { cause: error });
  }
}

export interface JobRun {
  readonly succeeded: boolean;
  /** The last line that it logged. */
  readonly result: Readonly<Record<string, unknown>>;
}

/** Runs one Job as the CronJob would, or as the Job was run before; it is gone afterwards. */
export async function runJob(
  namespace: string,
  source: `cronjob/${string}` | `job.batch/${string}`,
  changes: JobChanges = {},
  timeoutSeconds = 120,
): Promise<JobRun> {
  const inNamespace = `--namespace=${namespace}`;
  const name = `cluster-tests-${randomBytes(4).toString("hex")}`;
  const spec = specOf((await get(inNamespace, source)) as JobSource, changes);
  const manifest = jobByHand(namespace, name, spec);
  try {
    await kubectlWith(JSON.stringify(manifest), "create", "--filename=-");
    const succeeded = await waitFor(`the end of a job from ${source}`, timeoutSeconds, async () => {
      const { status } = (await get(inNamespace, "job.batch", name)) as V1Job;
      const end = status?.conditions?.find(
        ({ type, status: is }) => is === "True" && (type === "Complete" || type === "Failed"),
      );
      if (!end) throw new Error(`It is still running: ${JSON.stringify(status)}`);
      return end.type === "Complete";
    });
    const lines = (await kubectl("logs", inNamespace, `job.batch/${name}`)).trimEnd().split("\n");
    return { succeeded, result: z.record(z.string(), z.unknown()).parse(JSON.parse(lines.at(-1) ?? "")) };
  } finally {
    await kubectl("delete", inNamespace, "job.batch", name, "--ignore-not-found");
  }
}
