/** `make bench`: measures, prints, and writes docs/benchmarks.md. Figures are never asserted: machines are noisy. */
import { readFile } from "node:fs/promises";
import { loadavg } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { testTools } from "../debian.ts";
import { caPath } from "../identity.ts";
import { message, say } from "../system.ts";
import { developmentToken } from "../token.ts";
import { baseUrl } from "../up.ts";
import { type Experience, people, saturate } from "./load.ts";
import { type Figure, medianOf, tableOf, writeReport } from "./report.ts";
import { type Bench, createBench } from "./servers.ts";

const runs = 5;
/** Ten times the 20 that are expected. */
const manyClients = 200;
const idleSeconds = 5;
const memoryRequests = 100_000;

export async function runBench(): Promise<void> {
  process.env["PATH"] = `${await testTools()}:${process.env["PATH"] ?? ""}`;
  const loads = [loadavg()[0] ?? 0];
  const bench = await createBench();
  try {
    const figures = [...(await startUp(bench)), ...(await memory(bench)), ...(await reads(bench))];
    const { figures: experienced, note } = await manyPeople(bench);
    figures.push(...experienced);
    loads.push(loadavg()[0] ?? 0);
    say(tableOf(figures));
    await writeReport(figures, [
      "Authenticated read: `GET /api/v1/documents/:id` with a token, as the tenant under row-level security, from Postgres " +
        "with the cache off, one app process, 20 connections, 5 s each, in turn with the bare handler (`local/bench/bare.ts`: " +
        "`node:http` and `pg`, the same row by one query, no token, no policies, no log). The ratio is taken pair by pair.",
      note,
      `The machine's load average was ${loads.map((load) => load.toFixed(1)).join(" before and ")} after: above the number of cores, others were at work, and the figures say less.`,
    ]);
    say("written to docs/benchmarks.md");
  } finally {
    await bench.remove();
  }
}

async function startUp(bench: Bench): Promise<Figure[]> {
  const [times, idle]: [number[], number[]] = [[], []];
  for (let run = 1; run <= runs; run++) {
    say(`start-up, ${run} of ${runs}`);
    const app = await bench.app({ cache: true });
    await sleep(idleSeconds * 1000);
    times.push(app.startMs / 1000);
    idle.push(await app.memoryMiB());
    await app.stop();
  }
  return [
    { what: "start of the process to ready", unit: "s", values: times, target: atMost(3, "s") },
    {
      what: `resident memory, idle for ${idleSeconds} s`,
      unit: "MiB",
      values: idle,
      target: atMost(150, "MiB"),
    },
  ];
}

async function memory(bench: Bench): Promise<Figure[]> {
  const app = await bench.app({ cache: true });
  const token = await bench.token("viewer");
  const paths = [...bench.documents.slice(0, 500), "/api/v1/documents?limit=20"];
  const samples: number[] = [];
  const steps = 10;
  const requests = async (amount: number) =>
    saturate({ url: app.url, paths, token, connections: 20, limit: { requests: amount } });
  // Until the pools are full, the compiler is done and the young generation has its size.
  say("memory: warming up");
  await requests(memoryRequests / 2);
  for (let step = 1; step <= steps; step++) {
    say(`memory after ${(step * memoryRequests) / steps} requests`);
    await requests(memoryRequests / steps);
    samples.push(await app.memoryMiB());
  }
  await app.stop();
  const [early, late] = [medianOf(samples.slice(0, 3)), medianOf(samples.slice(-3))];
  return [
    { what: `resident memory over ${memoryRequests} requests`, unit: "MiB", values: samples },
    {
      what: "growth from the first three tenths to the last three",
      unit: "%",
      values: [(late / early - 1) * 100],
      target: { text: "flat: ≤ 5 %", holds: (growth) => growth <= 5 },
    },
  ];
}

/** P7. */
async function reads(bench: Bench): Promise<Figure[]> {
  const servers = { app: await bench.app({ cache: false }), bare: await bench.bare() };
  const token = await bench.token("viewer");
  const paths = bench.documents.slice(0, 500);
  const measure = async (server: keyof typeof servers, seconds: number) =>
    saturate({ url: servers[server].url, paths, token, connections: 20, limit: { seconds } });
  // Until the compiler has done its work: with all that a request passes through, that is a while.
  await measure("app", 10);
  await measure("bare", 10);
  const [ours, bare]: [number[], number[]] = [[], []];
  const cpu: Record<keyof typeof servers, number[]> = { app: [], bare: [] };
  for (let run = 1; run <= runs; run++) {
    say(`authenticated reads, ${run} of ${runs}`);
    // Who goes first changes, so that a machine that slows down does not favour one.
    for (const server of run % 2 === 0 ? (["bare", "app"] as const) : (["app", "bare"] as const)) {
      const before = await servers[server].cpuSeconds();
      const { requests, perSecond } = await measure(server, 5);
      cpu[server].push((1e6 * ((await servers[server].cpuSeconds()) - before)) / requests);
      (server === "app" ? ours : bare).push(perSecond);
    }
  }
  await Promise.all([servers.app.stop(), servers.bare.stop()]);
  return [
    { what: "authenticated read, app", unit: "requests/s", values: ours },
    { what: "authenticated read, bare handler", unit: "requests/s", values: bare },
    { what: "the same, CPU time of the app's process", unit: "µs per request", values: cpu.app },
    { what: "the same, CPU time of the bare handler's process", unit: "µs per request", values: cpu.bare },
    {
      what: "P7: app ÷ bare handler",
      unit: "ratio",
      values: ours.map((perSecond, run) => perSecond / (bare[run] ?? Number.NaN)),
      target: { text: "≥ 0.6", holds: (ratio) => ratio >= 0.6 },
    },
  ];
}

/** P8, through the edge if the dev stack is up; else of one app process, which is then said. */
async function manyPeople(bench: Bench): Promise<{ figures: Figure[]; note: string }> {
  const stack = await stackOrReason();
  const results: Experience[] = [];
  if (typeof stack === "string") {
    say(`the dev stack is not measured: ${stack}`);
    const app = await bench.app({ cache: true });
    const tokens = [await bench.token("admin")];
    for (let run = 1; run <= runs; run++) {
      say(`${manyClients} clients of one app process, ${run} of ${runs}`);
      results.push(await people({ url: new URL(app.url), clients: manyClients, seconds: 15, tokens }));
    }
    await app.stop();
  } else {
    for (let run = 1; run <= runs; run++) {
      say(`${manyClients} clients of the dev stack's edge, ${run} of ${runs}`);
      results.push(await people({ ...stack, clients: manyClients, seconds: 15 }));
    }
  }
  const where = typeof stack === "string" ? "one app process without edge" : "P8: through the edge";
  return {
    figures: [
      {
        what: `${where}, ${manyClients} clients, p95`,
        unit: "ms",
        values: results.map(({ p95Ms }) => p95Ms),
        target: { text: "< 500 ms", holds: (p95) => p95 < 500 },
      },
      {
        what: `${where}, ${manyClients} clients, failed requests`,
        unit: "%",
        values: results.map(({ requests, failures }) => (100 * sum([...failures.values()])) / requests),
        target: { text: "< 0.1 %", holds: (share) => share < 0.1 },
      },
    ],
    note:
      `The ${manyClients} clients create, read, list and change documents, signed in, 0.1 to 0.3 s between two requests, 15 s a run, ` +
      `${sum(results.map(({ requests }) => requests))} requests in all. Failed, run by run, by status (0: no answer): ` +
      `${results.map(({ failures }) => [...failures].map(([status, count]) => `${count} × ${status}`).join(", ") || "none").join("; ")}.` +
      (typeof stack === "string" ? ` P8 itself, through the edge, was **not measured**: ${stack}` : ""),
  };
}

async function stackOrReason(): Promise<{ url: URL; ca: string; tokens: string[] } | string> {
  try {
    // Limits by tenant are not to be met, either.
    const tenants = ["bench-1", "bench-2", "bench-3", "bench-4"];
    const tokens = await Promise.all(tenants.map((tenant) => developmentToken("admin", tenant)));
    return { url: new URL(baseUrl), ca: await readFile(caPath(), "utf8"), tokens };
  } catch (error) {
    return message(error).split("\n")[0] ?? "";
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function atMost(limit: number, unit: string) {
  return { text: `≤ ${limit} ${unit}`, holds: (median: number) => median <= limit };
}
