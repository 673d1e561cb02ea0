/** One app process, as the image runs it: how soon it is ready, and what memory it takes and keeps. */
import { setTimeout as sleep } from "node:timers/promises";
import { say } from "../system.ts";
import { saturate } from "./load.ts";
import { atMost, type Figure, type Measured, medianOf } from "./report.ts";
import { type Bench, withBench } from "./servers.ts";

const runs = 5;
const idleSeconds = 5;
const memoryRequests = 100_000;

export function measureProcess(): Promise<Measured> {
  return withBench(async (bench) => ({
    figures: [...(await startUp(bench)), ...(await memory(bench))],
    notes: [
      `Memory over ${memoryRequests} requests: authenticated reads and lists by 20 connections, a sample after each tenth, ` +
        `after ${memoryRequests / 2} requests that only warm up.`,
    ],
  }));
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
