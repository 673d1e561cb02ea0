/** P6: the app's answers through the edge, by TLS and kept connections, against the same pod without the edge. */
import autocannon from "autocannon";
import { readdir, readFile } from "node:fs/promises";
import { Agent, get, type RequestOptions } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import { kubectl } from "../cluster.ts";
import { inIdentity } from "../identity.ts";
import { appName } from "../internalCertificates.ts";
import { say, UserError } from "../system.ts";
import { bars } from "./plot.ts";
import { atLeast, below, type Measured, ratios } from "./report.ts";
import { engineAndCluster, request, runningStack, type RunningStack } from "./running.ts";

const runs = 5;
const seconds = 5;
const connections = 20;
/** A rate that both bear easily: a percentile at the limit would measure the queue. */
const calmPerSecond = 200;
/** The edge limits each address, and trusts this machine to name them. */
const addresses = 2000;
/** As k8s-manifests/nginx/nginx.conf sets it. */
const edgeWorkers = 2;

/** Whose processes use the processor, by command line. */
const programs = { edge: /^nginx: /, app: /^node .*\/app\/dist\/server\.js/ };

interface Load {
  readonly requests: number;
  readonly perSecond: number;
}

interface Trusted {
  readonly ca: string;
  readonly servername: string;
}

interface Asked {
  readonly path: string;
  readonly headers: Record<string, string>;
}

export async function measureEdge(): Promise<Measured> {
  const { cluster } = await engineAndCluster();
  const stack = await runningStack();
  const ready = "{.items[?(@.status.phase=='Running')].status.podIP}";
  const query = [
    "get",
    "pods",
    "--namespace=app",
    "--selector=app.kubernetes.io/name=app",
    `--output=jsonpath=${ready}`,
  ];
  const [address, ...others] = (await kubectl(cluster, query)).split(" ").filter(Boolean);
  if (address === undefined || others.length > 0)
    throw new UserError(
      "The edge is compared with one pod of the app, and the stack has another number of them: `make up` without HA makes one.",
    );
  const sides = { edge: stack.url.origin, app: `https://${address}:3000` };
  const paths = await documents(stack);
  const trusted = {
    edge: { ca: stack.ca, servername: stack.url.hostname },
    app: { ca: await readFile(inIdentity("internal-ca.crt"), "utf8"), servername: appName },
  };
  const asked = requestsFor(paths);
  const load = (side: keyof typeof sides) => send(sides[side], trusted[side], asked);
  await load("app");
  await load("edge");
  const full: Record<keyof typeof sides, number[]> = { edge: [], app: [] };
  const calm: Record<keyof typeof sides, number[]> = { edge: [], app: [] };
  // Of the edge's own processes while it is loaded, and of the app's while it is without the edge.
  const cpu: Record<keyof typeof sides, number[]> = { edge: [], app: [] };
  for (let run = 1; run <= runs; run++) {
    say(`through the edge and without, ${run} of ${runs}`);
    for (const side of run % 2 === 0 ? (["edge", "app"] as const) : (["app", "edge"] as const)) {
      const before = await cpuSeconds(programs[side]);
      const { perSecond, requests } = await load(side);
      full[side].push(perSecond);
      cpu[side].push((1e6 * ((await cpuSeconds(programs[side])) - before)) / requests);
      calm[side].push(await calmP95(sides[side], trusted[side], asked));
    }
  }
  await remove(stack, paths);
  const added = calm.edge.map((p95, index) => p95 - (calm.app[index] ?? Number.NaN));
  const series = [
    { label: "through the edge, TLS", values: full.edge },
    { label: "the app's pod itself", values: full.app },
  ];
  return {
    figures: [
      { what: "through the edge", unit: "requests/s", values: full.edge },
      { what: "the app's pod itself", unit: "requests/s", values: full.app },
      { what: "P6: edge ÷ app", unit: "ratio", values: ratios(full.edge, full.app), target: atLeast(0.8) },
      { what: "CPU time of the edge's processes, of that", unit: "µs per request", values: cpu.edge },
      { what: "CPU time of the app's process, without the edge", unit: "µs per request", values: cpu.app },
      {
        what: "what the edge's processors could bear ÷ what the app's one can",
        unit: "ratio",
        values: cpu.app.map((app, index) => (edgeWorkers * app) / (cpu.edge[index] ?? Number.NaN)),
      },
      { what: `p95 through the edge, ${calmPerSecond} requests/s`, unit: "ms", values: calm.edge },
      { what: `p95 of the pod itself, ${calmPerSecond} requests/s`, unit: "ms", values: calm.app },
      { what: "P6: p95 added by the edge, run by run", unit: "ms", values: added, target: below(2, "ms") },
    ],
    notes: [
      `Authenticated reads of single documents on the dev stack, cache on, ${connections} kept connections of HTTP/1.1, ${seconds} s each, in turn: ` +
        "through the edge (its port on this machine) and to the app's one pod by its address, both by TLS 1.3. Each request names one of " +
        `${addresses} client addresses, as the edge limits by address. What loads, the edge and the app share this machine's processors, so ` +
        `the ratio of the requests is that of all three together; the CPU times say what each has a request for. Percentiles are taken at ${calmPerSecond} requests/s, one every ${1000 / calmPerSecond} ms.`,
    ],
    plots: [
      {
        file: "edge.svg",
        title: "Through the edge",
        svg: bars("Through the edge and without", "requests/s", series),
      },
    ],
  };
}

/** Processor time that the programs of this name have used, on a node that is this machine; else not a number. */
async function cpuSeconds(program: RegExp): Promise<number> {
  const ids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const used = await Promise.all(
    ids.map(async (id) => {
      const [command, stat] = await Promise.all(
        ["cmdline", "stat"].map((file) => readFile(`/proc/${id}/${file}`, "utf8").catch(() => "")),
      );
      if (!program.test(command?.replaceAll("\0", " ") ?? "")) return [];
      // User and system time are the 14th and 15th field, in hundredths; the name before may hold anything.
      const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ") ?? [];
      return [(Number(fields[11]) + Number(fields[12])) / 100];
    }),
  );
  const found = used.flat();
  return found.length === 0 ? Number.NaN : found.reduce((sum, seconds) => sum + seconds, 0);
}

/** One document for each tenant, with the token that reads it. */
async function documents(stack: RunningStack): Promise<Map<string, string>> {
  const made = await Promise.all(
    stack.tokens.map(async (token): Promise<[string, string]> => {
      const body = JSON.stringify({ title: "Bench", content: "text ".repeat(200) });
      const location = await request(stack, { method: "POST", path: "/api/v1/documents", token, body });
      return [location, token];
    }),
  );
  return new Map(made);
}

async function remove(stack: RunningStack, paths: ReadonlyMap<string, string>): Promise<void> {
  for (const [path, token] of paths) await request(stack, { method: "DELETE", path, token });
}

/** For each client address one request; documents in turn. */
function requestsFor(paths: ReadonlyMap<string, string>): Asked[] {
  const documents = [...paths];
  return Array.from({ length: addresses }, (_, number) => {
    const [path, token] = documents[number % documents.length] ?? ["", ""];
    const client = `2001:db8:ed9e:${number.toString(16)}::1`;
    return { path, headers: { authorization: `Bearer ${token}`, "x-forwarded-for": client } };
  });
}

/** As much as is answered. */
async function send(origin: string, { ca, servername }: Trusted, requests: Asked[]): Promise<Load> {
  const options = { url: origin, connections, duration: seconds, requests, servername, tlsOptions: { ca } };
  const result = await autocannon(options);
  const refused = result.non2xx + result.errors + result.timeouts;
  if (refused > 0) throw new Error(`${origin}: ${refused} of ${result.requests.total} requests failed`);
  return { requests: result.requests.total, perSecond: result.requests.total / result.duration };
}

/**
 * 95th percentile of the times to a whole answer, milliseconds, with one request every few milliseconds, whether the ones before are answered
 * or not. autocannon would send a second's share at once. What the first second brings, with its new connections, is left out.
 */
async function calmP95(origin: string, trusted: Trusted, requests: readonly Asked[]): Promise<number> {
  const agent = new Agent({ ...trusted, keepAlive: true, maxSockets: connections });
  const began = performance.now();
  const answers: Promise<number>[] = [];
  const all = (seconds + 1) * calmPerSecond;
  for (let number = 0; number < all; number++) {
    const wait = began + (number * 1000) / calmPerSecond - performance.now();
    if (wait > 0) await sleep(wait);
    const { path, headers } = requests[number % requests.length] ?? { path: "", headers: {} };
    answers.push(timeOf(new URL(path, origin), { agent, headers }));
  }
  const times = (await Promise.all(answers)).slice(calmPerSecond).toSorted((a, b) => a - b);
  agent.destroy();
  return times[Math.floor(times.length * 0.95)] ?? Number.NaN;
}

function timeOf(url: URL, options: RequestOptions): Promise<number> {
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const sent = get(url, options, (answer) => {
      answer.resume().on("end", () => {
        if (answer.statusCode === 200) resolve(performance.now() - started);
        else reject(new Error(`${url.href} was answered by ${answer.statusCode ?? "nothing"}`));
      });
    });
    sent.on("error", reject);
  });
}
