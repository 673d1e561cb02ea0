import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ask, askOver, fault, type Sample } from "../../local/delivery/judge.ts";
import { candidateManifest } from "../../local/delivery/traffic.ts";

const settings = {
  stepSeconds: 300,
  minimumRequests: 500,
  maximumErrorRatio: 0.001,
  maximumP95Milliseconds: 500,
  slowerThanStable: 1.5,
};
const good: Sample = { requests: 1000, errors: 1, p95: 0.1, stableP95: 0.1, restarts: 0, unready: 0 };
const judged = (changes: Partial<Sample>, over = true): string | undefined =>
  fault({ ...good, ...changes }, settings, over);

describe("a step of a release", () => {
  test("goes on with one error in a thousand and a like response time", () => {
    expect(judged({})).toBeUndefined();
    expect(judged({ p95: 0.149 })).toBeUndefined();
  });

  test("ends for errors, slowness, restarts and pods that are not ready, at any time", () => {
    expect(judged({ errors: 2 }, false)).toContain("2 of 1000 requests failed");
    expect(judged({ p95: 0.501 }, false)).toContain("501 ms");
    expect(judged({ p95: 0.2 }, false)).toContain("that of the version before 100 ms");
    expect(judged({ restarts: 1 }, false)).toContain("ended 1 time(s)");
    expect(judged({ unready: 1 }, false)).toContain("not ready");
  });

  test("takes a few milliseconds for noise", () => {
    expect(judged({ p95: 0.012, stableP95: 0.004 })).toBeUndefined();
  });

  test("waits for requests, but not beyond its end: no figures are no consent", () => {
    expect(judged({ requests: 499, errors: 0 }, false)).toBeUndefined();
    expect(judged({ requests: 499, errors: 0 })).toContain("fewer than 500");
    expect(judged({ requests: undefined, errors: 0, p95: undefined })).toContain("no figures");
    expect(judged({ p95: undefined })).toContain("no response times");
    expect(judged({ requests: 10, errors: 1 }, false)).toContain("1 of 10 requests failed");
  });

  test("never lets more than the configured share of errors pass", () => {
    fc.assert(
      fc.property(fc.nat(100_000), fc.nat(1000), (requests, errors) => {
        const passed = judged({ requests, errors }) === undefined;
        if (passed) expect(errors).toBeLessThanOrEqual(requests * 0.001);
      }),
    );
  });
});

test("a candidate is the stack's Deployment under another name, with another image, and none of its pods", () => {
  const name = { "app.kubernetes.io/name": "app" };
  const stable = {
    metadata: { name: "app", uid: "1", labels: name },
    spec: {
      replicas: 3,
      selector: { matchLabels: name },
      template: {
        metadata: { labels: name },
        spec: {
          serviceAccountName: "app",
          topologySpreadConstraints: [{ labelSelector: { matchLabels: name } }],
          containers: [{ name: "app", image: "app:1", env: [{ name: "A", value: "b" }] }],
        },
      },
    },
    status: { readyReplicas: 3 },
  };
  const made = JSON.stringify(candidateManifest(stable, "app:2"));
  expect(made).not.toContain('"app.kubernetes.io/name":"app"');
  expect(made).not.toContain("app:1");
  expect(JSON.parse(made)).toMatchObject({
    spec: {
      replicas: 3,
      template: {
        spec: { serviceAccountName: "app", containers: [{ image: "app:2", env: [{ name: "A" }] }] },
      },
    },
  });
});

describe("the figures of a release", () => {
  /** A cluster with this in the ConfigMap that names another Prometheus, and what it was asked. */
  async function asked(source: string, span?: Parameters<typeof askOver>[2]): Promise<string> {
    let command: readonly string[] = [];
    const kubectl = (args: readonly string[]): Promise<string> => {
      if (args.includes("existing-prometheus")) return Promise.resolve(source);
      command = args;
      const result = [{ metric: {}, ...(span ? { values: [[5, "7"]] } : { value: [0, "7"] }) }];
      return Promise.resolve(JSON.stringify(source === "" ? result : { data: { result } }));
    };
    const expression = 'sum(app_requests_total{job="app"})';
    if (span) {
      expect(await askOver({ kubectl }, expression, span)).toEqual([
        { labels: {}, points: [{ atSeconds: 5, value: 7 }] },
      ]);
    } else expect(await ask({ kubectl }, expression)).toBe(7);
    return command.map(decodeURIComponent).join(" ");
  }

  const span = { from: 100, to: 200, steps: 8 };

  // The network policies let in nobody else, wherever a cluster's API server asks from.
  test("are asked of the stack's own Prometheus, inside its pod", async () => {
    const inside = "exec --namespace=monitoring service/prometheus --container=prometheus -- promtool query";
    const question = 'http://localhost:9090 sum(app_requests_total{job="app"})';
    expect(await asked("")).toBe(`${inside} instant --format=json ${question}`);
    expect(await asked("", span)).toBe(
      `${inside} range --format=json --start=100 --end=200 --step=12.5s ${question}`,
    );
  });

  test("are this stack's, where another Prometheus has others', too", async () => {
    const source = { namespace: "observability", service: "prometheus-operated", port: 9090, stack: "prod" };
    expect(await asked(JSON.stringify(source))).toBe(
      "get --raw /api/v1/namespaces/observability/services/prometheus-operated:9090/proxy/api/v1/query?query=" +
        'sum(app_requests_total{stack="prod",job="app"})',
    );
    expect(await asked(JSON.stringify(source), span)).toMatch(
      /query_range\?.*&start=100&end=200&step=12\.5$/,
    );
  });
});
