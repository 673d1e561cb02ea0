/** What pods write is found again by its trace, and none of it is lost. Only where `make up LOGS=1` runs. */
import { randomBytes } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { ask, Client, kubectl, readyPods, readyPodsOf, tenants, token, waitFor } from "./support.ts";
import { askQuery, queriesOf, remediesOf, runbooksOf, typeRemedy, typeRunbook } from "./typed.ts";

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

/** Whether the workload's pods are ready within two minutes. */
function ready(workload: string, pods = 1): Promise<void> {
  return waitFor(`${workload} ready`, 120, async () => {
    expect(await readyPods(workload)).toHaveLength(pods);
  });
}

const tracesShape = z.object({
  data: z.array(z.object({ spans: z.array(z.object({ operationName: z.string() })) })),
});

/** Names of the spans that Jaeger has of a trace. */
async function spansOf(traceId: string): Promise<string[]> {
  const answer = await ask("jaeger", `/api/traces/${traceId}`).catch(() => ({ data: [] }));
  const { data } = tracesShape.parse(answer);
  return data.flatMap(({ spans }) => spans.map(({ operationName }) => operationName)).sort();
}

const gatewayService = "trace-gateway.monitoring.svc.cluster.local";

/** Sends a span of each trace to the gateway at `host`, from the app's pod, whom the network lets. */
async function sendSpans(host: string, name: string, traceIds: readonly string[], failed: boolean) {
  const now = BigInt(Date.now()) * 1_000_000n;
  const spans = traceIds.map((traceId) => ({
    traceId,
    spanId: randomBytes(8).toString("hex"),
    name,
    kind: 1,
    startTimeUnixNano: String(now),
    endTimeUnixNano: String(now + 1_000_000n),
    status: { code: failed ? 2 : 1 },
  }));
  const resource = { attributes: [{ key: "service.name", value: { stringValue: "cluster-tests" } }] };
  const body = JSON.stringify({ resourceSpans: [{ resource, scopeSpans: [{ spans }] }] });
  const program = `fetch("http://${host}:4318/v1/traces", { method: "POST", body: process.argv[1],
    headers: { "Content-Type": "application/json" } }).then(({ status }) => process.exit(status === 200 ? 0 : 1))`;
  await kubectl("exec", "--namespace=app", "deploy/app", "--", "node", "-e", program, body);
}

const traceIds = (count: number): string[] =>
  Array.from({ length: count }, () => randomBytes(16).toString("hex"));

describe("logs and traces", () => {
  beforeAll(async () => {
    await ready("loki");
    await ready("jaeger");
    await ready("trace-gateway", 2);
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
    // One in ten is kept: of these, one at least but once in 500 runs.
    const traces = Array.from({ length: 60 }, newTrace);
    for (const { traceparent } of traces) await client.get("/api/v1/documents", { headers: { traceparent } });
    await waitFor("a trace in Jaeger", 60, async () => {
      const kept = await Promise.all(traces.map(({ id }) => spansOf(id)));
      expect(kept.flat().length).toBeGreaterThan(0);
    });
  });

  test("a trace with an error is kept whole, whichever of two gateways its spans came to", async () => {
    const addresses = (await readyPodsOf("trace-gateway")).map(({ status }) => status?.podIP ?? "");
    const [first = "", second = ""] = addresses;
    expect(addresses).toHaveLength(2);
    const traces = traceIds(20);
    await sendSpans(first, "fails", traces, true);
    await sendSpans(second, "works", traces, false);
    await waitFor("both spans of every trace", 60, async () => {
      const found = await Promise.all(traces.map(spansOf));
      expect(found).toEqual(traces.map(() => ["fails", "works"]));
    });
  });

  test("when a gateway is gone, the other keeps what comes then", async () => {
    const [victim] = await readyPodsOf("trace-gateway");
    const traces = traceIds(20);
    await kubectl("delete", "pod", victim?.metadata?.name ?? "", "--namespace=monitoring", "--wait=false");
    await waitFor("the end of it", 60, async () => {
      expect(await readyPods("trace-gateway")).not.toContain(victim?.metadata?.uid);
    });
    await sendSpans(gatewayService, "fails", traces, true);
    await waitFor("every trace", 60, async () => {
      const found = await Promise.all(traces.map(spansOf));
      expect(found).toEqual(traces.map(() => ["fails"]));
    });
    await ready("trace-gateway", 2);
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
test.each(queriesOf(runbooks))("what Prometheus is asked has metrics that there are: %s", askQuery);
