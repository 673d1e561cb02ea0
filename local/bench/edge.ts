/** P6: the app's answers through the edge, by TLS and kept connections, against the same pod without the edge. */
import autocannon from "autocannon";
import { readFile } from "node:fs/promises";
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

interface Load {
  readonly perSecond: number;
  readonly p95Ms: number;
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
  const load = (side: keyof typeof sides, rate?: number) => send(sides[side], trusted[side], paths, rate);
  await load("app");
  await load("edge");
  const full: Record<keyof typeof sides, number[]> = { edge: [], app: [] };
  const calm: Record<keyof typeof sides, number[]> = { edge: [], app: [] };
  for (let run = 1; run <= runs; run++) {
    say(`through the edge and without, ${run} of ${runs}`);
    for (const side of run % 2 === 0 ? (["edge", "app"] as const) : (["app", "edge"] as const)) {
      full[side].push((await load(side)).perSecond);
      calm[side].push((await load(side, calmPerSecond)).p95Ms);
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
      { what: `p95 through the edge, ${calmPerSecond} requests/s`, unit: "ms", values: calm.edge },
      { what: `p95 of the pod itself, ${calmPerSecond} requests/s`, unit: "ms", values: calm.app },
      { what: "P6: p95 added by the edge, run by run", unit: "ms", values: added, target: below(2, "ms") },
    ],
    notes: [
      `Authenticated reads of single documents on the dev stack, cache on, ${connections} kept connections of HTTP/1.1, ${seconds} s each, in turn: ` +
        "through the edge (its port on this machine) and to the app's one pod by its address, both by TLS 1.3. Each request names one of " +
        `${addresses} client addresses, as the edge limits by address. Percentiles are taken at ${calmPerSecond} requests/s.`,
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

/** As much as is answered, or `rate` a second; the percentile is over all answers. */
async function send(
  origin: string,
  { ca, servername }: { readonly ca: string; readonly servername: string },
  paths: ReadonlyMap<string, string>,
  rate?: number,
): Promise<Load> {
  const documents = [...paths];
  const requests = Array.from({ length: addresses }, (_, number) => {
    const [path, token] = documents[number % documents.length] ?? ["", ""];
    const client = `2001:db8:ed9e:${number.toString(16)}::1`;
    return { path, headers: { authorization: `Bearer ${token}`, "x-forwarded-for": client } };
  });
  const times: number[] = [];
  const result = await new Promise<autocannon.Result>((resolve, reject) => {
    const instance = autocannon(
      {
        url: origin,
        connections,
        duration: seconds,
        requests,
        servername,
        tlsOptions: { ca },
        ...(rate !== undefined && { overallRate: rate }),
      },
      (error: Error | null, answer) => {
        if (error) reject(error);
        else resolve(answer);
      },
    );
    instance.on("response", (_client, _status, _bytes, milliseconds) => times.push(milliseconds));
  });
  const refused = result.non2xx + result.errors + result.timeouts;
  if (refused > 0) throw new Error(`${origin}: ${refused} of ${result.requests.total} requests failed`);
  times.sort((a, b) => a - b);
  return {
    perSecond: result.requests.total / result.duration,
    p95Ms: times[Math.floor(times.length * 0.95)] ?? Number.NaN,
  };
}
