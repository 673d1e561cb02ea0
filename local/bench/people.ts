/** P8: as many people as ten times those expected, through the edge if the dev stack is up. */
import { expectedUsers } from "../stackValues.ts";
import { say } from "../system.ts";
import { type Experience, people } from "./load.ts";
import { below, type Measured } from "./report.ts";
import { withBench } from "./servers.ts";
import { stackOrReason } from "./running.ts";

const runs = 5;
const seconds = 15;

/** Without a dev stack one app process is measured, which is then said. */
export async function measurePeople(): Promise<Measured> {
  const clients = 10 * (await expectedUsers());
  const stack = await stackOrReason();
  if (typeof stack !== "string") {
    const results = await repeated(`${clients} clients of the dev stack's edge`, () =>
      people({ ...stack, clients, seconds }),
    );
    return measured("P8: through the edge", clients, results, "");
  }
  say(`the dev stack is not measured: ${stack}`);
  return withBench(async (bench) => {
    const app = await bench.app({ cache: true });
    const tokens = [await bench.token("admin")];
    const results = await repeated(`${clients} clients of one app process`, () =>
      people({ url: new URL(app.url), clients, seconds, tokens }),
    );
    await app.stop();
    return measured(
      "one app process without edge",
      clients,
      results,
      ` P8 itself, through the edge, was **not measured**: ${stack}`,
    );
  });
}

async function repeated(what: string, once: () => Promise<Experience>): Promise<Experience[]> {
  const results: Experience[] = [];
  for (let run = 1; run <= runs; run++) {
    say(`${what}, ${run} of ${runs}`);
    results.push(await once());
  }
  return results;
}

function measured(where: string, clients: number, results: readonly Experience[], remark: string): Measured {
  return {
    figures: [
      {
        what: `${where}, ${clients} clients, p95`,
        unit: "ms",
        values: results.map(({ p95Ms }) => p95Ms),
        target: below(500, "ms"),
      },
      {
        what: `${where}, ${clients} clients, failed requests`,
        unit: "%",
        values: results.map(({ requests, failures }) => (100 * sum([...failures.values()])) / requests),
        target: below(0.1, "%"),
      },
    ],
    notes: [
      `The ${clients} clients create, read, list and change documents, signed in, 0.1 to 0.3 s between two requests, ${seconds} s a run, ` +
        `${sum(results.map(({ requests }) => requests))} requests in all. Failed, run by run, by status (0: no answer): ` +
        `${results.map(({ failures }) => [...failures].map(([status, count]) => `${count} × ${status}`).join(", ") || "none").join("; ")}.${remark}`,
    ],
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
