/** P7: an authenticated, tenant-scoped read, against a bare handler that does the same query. */
import { say } from "../system.ts";
import { saturate } from "./load.ts";
import { bars } from "./plot.ts";
import { atLeast, type Figure, type Measured, ratios } from "./report.ts";
import { withBench } from "./servers.ts";

const runs = 5;

export function measureReads(): Promise<Measured> {
  return withBench(async (bench) => {
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
    const figures: Figure[] = [
      { what: "authenticated read, app", unit: "requests/s", values: ours },
      { what: "authenticated read, bare handler", unit: "requests/s", values: bare },
      { what: "the same, CPU time of the app's process", unit: "µs per request", values: cpu.app },
      { what: "the same, CPU time of the bare handler's process", unit: "µs per request", values: cpu.bare },
      { what: "P7: app ÷ bare handler", unit: "ratio", values: ratios(ours, bare), target: atLeast(0.6) },
    ];
    const series = [
      { label: "app", values: ours },
      { label: "bare handler", values: bare },
    ];
    return {
      figures,
      notes: [
        "`GET /api/v1/documents/:id` with a token, as the tenant under row-level security, from Postgres with the cache off, one " +
          "app process, 20 connections, 5 s each, in turn with the bare handler (`local/bench/bare.ts`: `node:http` and `pg`, " +
          "the same row by one query, no token, no policies, no log). The ratio is taken pair by pair.",
      ],
      plots: [
        {
          file: "reads.svg",
          title: "Authenticated reads",
          svg: bars("Authenticated reads", "requests/s", series),
        },
      ],
    };
  });
}
