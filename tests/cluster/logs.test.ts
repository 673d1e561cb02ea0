/** What pods write is found again by its trace, and none of it is lost. Only where `make up LOGS=1` runs. */
import { randomBytes } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { ask, Client, kubectl, readyPods, tenants, token, waitFor } from "./support.ts";
import { remediesOf, runbooksOf, typeRemedy, typeRunbook } from "./typed.ts";

/** How long Loki is away, seconds. */
const outageSeconds = Number(process.env["LOKI_OUTAGE_SECONDS"] ?? 60);

const client = new Client();
const linesShape = z.object({
  data: z.object({
    result: z.array(
      z.object({
        stream: z.record(z.string(), z.string()),
        values: z.array(z.tuple([z.string(), z.string()])),
      }),
    ),
  }),
});

interface Line {
  readonly labels: Readonly<Record<string, string>>;
  readonly time: string;
  readonly text: string;
}

/** What Loki has for a query, of the last hour. */
async function lines(query: string): Promise<Line[]> {
  const start = `${Date.now() - 3_600_000}000000`;
  const search = new URLSearchParams({ query, start, limit: "5000" });
  const { data } = linesShape.parse(await ask("loki", `/loki/api/v1/query_range?${search.toString()}`));
  return data.result.flatMap(({ stream, values }) =>
    values.map(([time, text]) => ({ labels: stream, time, text })),
  );
}

function byTrace(traceId: string): Promise<Line[]> {
  return lines(`{k8s_namespace_name=~"edge|app"} | trace_id="${traceId}"`);
}

/** A trace of our own, as a client's `traceparent`. */
function newTrace(): { id: string; traceparent: string } {
  const id = randomBytes(16).toString("hex");
  return { id, traceparent: `00-${id}-${randomBytes(8).toString("hex")}-01` };
}

/** Whether a pod of the workload is ready within two minutes. */
function ready(workload: string): Promise<void> {
  return waitFor(`${workload} ready`, 120, async () => {
    expect(await readyPods(workload)).toHaveLength(1);
  });
}

describe("logs and traces", () => {
  beforeAll(async () => {
    await ready("loki");
    await ready("jaeger");
  });

  test("a job's lines are found by its trace, from the edge, the app and the worker", async () => {
    const [tenant] = tenants;
    const trace = newTrace();
    const answer = await client.send("POST", "/api/v2/jobs", {
      token: await token("editor", tenant),
      body: { kind: "generate", prompt: "A job that leaves a trace" },
      headers: { traceparent: trace.traceparent },
    });
    expect(answer.status, answer.body).toBe(202);
    await waitFor("lines of all three", 60, async () => {
      const containers = (await byTrace(trace.id)).map(({ labels }) => labels["k8s_container_name"]);
      expect(containers).toEqual(expect.arrayContaining(["nginx", "app", "worker"]));
    });
    const [line] = (await byTrace(trace.id)).filter(({ labels }) => labels["k8s_container_name"] === "app");
    expect(JSON.parse(line?.text ?? "")).toMatchObject({ trace_id: trace.id });
    expect(line?.labels).toMatchObject({ k8s_namespace_name: "app", service_name: "app" });
  });

  test("of ordinary traces some are kept, and found in Jaeger", async () => {
    const spansShape = z.object({
      data: z.array(z.object({ traceID: z.string(), spans: z.array(z.unknown()) })),
    });
    // One in ten is kept: of these, one at least but once in 500 runs.
    const traces = Array.from({ length: 60 }, newTrace);
    for (const { traceparent } of traces) await client.get("/api/v1/documents", { headers: { traceparent } });
    await waitFor("a trace in Jaeger", 60, async () => {
      const kept = await Promise.all(
        traces.map(async ({ id }) => {
          const answer = await ask("jaeger", `/api/traces/${id}`).catch(() => ({ data: [] }));
          return spansShape.parse(answer).data;
        }),
      );
      expect(kept.flat().length).toBeGreaterThan(0);
    });
  });

  test(
    "nothing is lost while Loki is away, even when the agent is restarted meanwhile",
    async () => {
      const during = Array.from({ length: 100 }, newTrace);
      const scale = (replicas: number) =>
        kubectl("scale", "statefulset/loki", "--namespace=monitoring", `--replicas=${replicas}`);
      try {
        await scale(0);
        await waitFor("Loki gone", 90, async () => {
          expect(await readyPods("loki")).toEqual([]);
        });
        const began = Date.now();
        for (const [index, { traceparent }] of during.entries()) {
          const answer = await client.get("/health-of-nothing", { headers: { traceparent } });
          expect(answer.status).toBeLessThan(500);
          if (index === 50)
            await kubectl("rollout", "restart", "daemonset/log-agent", "--namespace=node-agents");
          await new Promise((resolve) => setTimeout(resolve, (outageSeconds * 1000) / during.length));
        }
        expect(Date.now() - began).toBeGreaterThanOrEqual(outageSeconds * 1000);
      } finally {
        await scale(1);
      }
      await ready("loki");
      await waitFor("every line of the outage", 180, async () => {
        const found = await lines('{k8s_container_name="nginx"} |= "/health-of-nothing" | json');
        const counts = new Map<string, number>();
        for (const { labels } of found) {
          const id = labels["trace_id"] ?? "";
          counts.set(id, (counts.get(id) ?? 0) + 1);
        }
        // Each once: neither lost nor doubled by what was read again.
        expect(during.filter(({ id }) => counts.get(id) !== 1)).toEqual([]);
      });
    },
    outageSeconds * 1000 + 480_000,
  );
});

const runbooks = runbooksOf((file) => file === "logging.yaml");
test.each(runbooks)("how to see %s can be typed as it stands", typeRunbook);
test.each(remediesOf(runbooks))("what is to be done can be typed: %s", typeRemedy);
