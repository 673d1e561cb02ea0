import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { PrometheusRule } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule";
import { ScrapeConfig } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1alpha1/ScrapeConfig";
import * as pulumi from "@pulumi/pulumi";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse, stringify } from "yaml";

import { readConfig } from "../../components/config.ts";
import { stackFlows, watchedBy } from "../../components/flows.ts";
import { Monitoring } from "../../components/monitoring/monitoring.ts";
import { scoped } from "../../components/monitoring/promql.ts";
import { KubernetesSecretStore } from "../../components/secrets/kubernetesSecretStore.ts";
import { at, conform, ofType, register, type Registered } from "./mocks.ts";
import { runTool } from "./tools.ts";

const existing = {
  namespace: "observability",
  service: "prometheus-operated",
  port: 9090,
  labels: { release: "kube-prometheus" },
};
/** As the mocks call it. */
const stack = "test";
const folder = mkdtempSync(join(tmpdir(), "groundwork-existing-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

let resources: Registered[];
beforeAll(async () => {
  resources = await register(() => {
    const secrets = new KubernetesSecretStore("secrets");
    new Monitoring("monitoring", {
      namespace: pulumi.output("monitoring"),
      secrets,
      existing,
      targets: [
        { job: "app", host: "app-metrics.app.svc.cluster.local", port: 9464 },
        { job: "app-candidate", host: "app-candidate-metrics.app.svc.cluster.local", port: 9464 },
        { job: "loki", host: "loki.monitoring.svc.cluster.local", port: 3100, path: "/m", kept: "loki_.*" },
      ],
      blackbox: {
        image: "blackbox:1",
        edge: { endpoint: { host: "edge.edge.svc.cluster.local", port: 443 }, host: "api.example.com" },
      },
      prometheus: {
        image: "prometheus:1",
        retentionDays: 15,
        storageGiB: 2,
        resources: { cpuMillis: 100, memoryMiB: 216 },
        retainData: false,
      },
      alertmanager: { image: "alertmanager:1" },
      nodeExporter: { image: "exporters:1" },
      prober: { image: "python:1", intervalSeconds: 15, servers: [], ca: secrets.keep("internal-ca", "ca") },
      grafana: { image: "grafana:1" },
    });
  });
});

const objects = (kind: string): Registered[] => ofType(resources, `:${kind}`);
const nameOf = (resource: Registered | undefined): unknown => at(resource, "metadata.name");
const scrape = (name: string): unknown =>
  at(
    objects("ScrapeConfig").find((resource) => nameOf(resource) === name),
    "spec",
  );
const fixed = (labels: Readonly<Record<string, string>>): object[] =>
  Object.entries(labels).map(([targetLabel, replacement]) => ({ targetLabel, replacement }));

describe("an existing Prometheus", () => {
  test("is told by objects that the operator's published schemas allow, with the labels it selects by", () => {
    const scrapes = objects("ScrapeConfig");
    const rules = objects("PrometheusRule");
    expect([scrapes.length, rules.length]).toEqual([7, 10]);
    for (const { inputs } of scrapes) conform(ScrapeConfig, inputs);
    for (const { inputs } of rules) conform(PrometheusRule, inputs);
    expect(() => {
      conform(ScrapeConfig, { ...scrapes[0]?.inputs, spec: { dnsSDConfigs: "app" } });
    }).toThrow();
    for (const object of [...scrapes, ...rules])
      expect(at(object, "metadata")).toMatchObject({ namespace: "monitoring", labels: existing.labels });
  });

  test("scrapes every pod of what the stack's own would, marked as this stack's", () => {
    expect(scrape("app")).toEqual({
      scrapeInterval: "15s",
      scrapeTimeout: "10s",
      metricsPath: "/metrics",
      dnsSDConfigs: [
        { names: ["app-metrics.app.svc.cluster.local"], type: "A", port: 9464, refreshInterval: "15s" },
      ],
      relabelings: fixed({ job: "app", stack }),
    });
    expect(scrape("loki")).toMatchObject({
      metricsPath: "/m",
      metricRelabelings: [{ sourceLabels: ["__name__"], regex: "loki_.*", action: "keep" }],
    });
    expect(scrape("probe-ready")).toMatchObject({
      metricsPath: "/probe",
      params: { module: ["ready"], target: ["https://edge.edge.svc.cluster.local:443/ready"] },
      staticConfigs: [{ targets: ["blackbox.monitoring.svc.cluster.local:9115"] }],
      relabelings: fixed({ job: "probe", probe: "ready", stack }),
    });
    expect(scrape("prober")).toBeDefined();
  });

  test("takes the place of Prometheus, Alertmanager and node_exporter; what asks as users do, and Grafana, stay", () => {
    const workloads = [...objects("StatefulSet"), ...objects("DaemonSet"), ...objects("Deployment")];
    expect(workloads.map(nameOf).sort()).toEqual(["blackbox", "grafana", "prober"]);
    const grafana = objects("Deployment").find((workload) => nameOf(workload) === "grafana");
    expect(JSON.stringify(at(grafana, "spec.template.spec.containers.0.env"))).toContain(
      "http://prometheus-operated.observability.svc.cluster.local:9090",
    );
    const overview = objects("ConfigMap").find((map) => nameOf(map) === "grafana");
    expect(JSON.stringify(at(overview, "data"))).toContain("app_active_users{stack=");
  });

  test("is named to the release tooling", () => {
    const source = objects("ConfigMap").find((map) => nameOf(map) === "existing-prometheus");
    const { namespace, service, port } = existing;
    expect(JSON.parse(String(at(source, "data")?.["source.json" as never]))).toEqual({
      namespace,
      service,
      port,
      stack,
    });
  });
});

interface RuleTests {
  readonly rule_files: readonly string[];
  readonly tests: {
    readonly input_series: { readonly series: string; readonly values: string }[];
    readonly alert_rule_test?: { alertname: string; exp_alerts: { exp_labels: { volume?: string } }[] }[];
  }[];
}
const rulesFolder = join(import.meta.dirname, "..", "..", "k8s-manifests", "prometheus");
const ownAlerts = [
  ...readFileSync(join(rulesFolder, "rules", "own.yaml"), "utf8").matchAll(/alert: (\w+)/g),
].map(([, alert]) => alert);

describe("the rules among others' figures", () => {
  beforeAll(() => {
    mkdirSync(join(folder, "rules"));
    for (const rule of objects("PrometheusRule"))
      writeFileSync(join(folder, "rules", `${String(nameOf(rule))}.yaml`), stringify(at(rule, "spec")));
  });
  const told = (): string[] => readdirSync(join(folder, "rules")).map((file) => `../rules/${file}`);
  const check = (tests: readonly object[], how: object): ReturnType<typeof runTool> => {
    const path = join(mkdtempSync(join(folder, "test-")), "test.yaml");
    writeFileSync(path, stringify({ ...how, tests }));
    return runTool("promtool", ["test", "rules", path]);
  };

  // Those on Prometheus and its nodes are its owners'.
  test.each(readdirSync(join(rulesFolder, "tests")).filter((file) => file !== "own.yaml"))(
    "fire on this stack's as they do in a Prometheus of its own: %s",
    (file) => {
      // Series of values such as 0x20 are no numbers.
      const text = readFileSync(join(rulesFolder, "tests", file), "utf8");
      const { rule_files, tests, ...how } = parse(text, { schema: "failsafe" }) as RuleTests;
      const marked = tests.map(({ input_series, alert_rule_test = [], ...rest }) => ({
        ...rest,
        // What the nodes tell is told by their namespaces.
        input_series: input_series.map(({ series, values }) => ({
          series: /^(kubelet|container)_/.test(series) ? series : scoped(series, stack),
          values,
        })),
        alert_rule_test: alert_rule_test
          .filter(({ alertname }) => !ownAlerts.includes(alertname))
          .map((alert) => ({
            ...alert,
            // The disks of nodes are their owners'.
            exp_alerts: alert.exp_alerts
              .filter(({ exp_labels }) => exp_labels.volume?.startsWith("/dev/") !== true)
              .map((expected) => ({ ...expected, exp_labels: { ...expected.exp_labels, stack } })),
          })),
        promql_expr_test: [],
      }));
      const files = rule_files.filter((rules) => told().includes(rules));
      const { passed, output } = check(marked, { ...how, rule_files: files });
      expect(passed, output).toBe(true);
    },
    30_000,
  );

  test("look at no other's, and say when this stack's are missing altogether", () => {
    const figures = ["up{job='app'}", "redis_up", "pg_up", "groundwork_backup_last_verification_passed"];
    const expected = (scrape_job: string) => ({
      exp_labels: { severity: "critical", signal: "missing", job: scrape_job, scrape_job, stack },
      exp_annotations: {
        summary: `No pod of ${scrape_job} is running`,
        description:
          "The job had no address to scrape for two minutes, so none of its pods is there or ready.",
        runbook_url: "docs/runbooks/TargetMissing.md",
      },
    });
    const of = (name: string) => figures.map((series) => ({ series: scoped(series, name), values: "0x20" }));
    const silent = ["TargetDown", "RedisDown", "PostgresDown", "BackupVerificationFailed"];
    const tests = [
      {
        interval: "1m",
        input_series: of("another"),
        alert_rule_test: [
          ...silent.map((alertname) => ({ eval_time: "10m", alertname, exp_alerts: [] })),
          {
            eval_time: "10m",
            alertname: "TargetMissing",
            exp_alerts: ["app", "blackbox", "loki", "prober"].map(expected),
          },
        ],
      },
      {
        interval: "1m",
        input_series: of(stack),
        alert_rule_test: [
          {
            eval_time: "10m",
            alertname: "TargetMissing",
            exp_alerts: ["blackbox", "loki", "prober"].map(expected),
          },
        ],
      },
    ];
    const { passed, output } = check(tests, { evaluation_interval: "1m", rule_files: told() });
    expect(passed, output).toBe(true);
  });
});

test("an expression is narrowed wherever it selects, and left as it is elsewhere", () => {
  expect(scoped('sum by (a) (rate(x{b="}"}[5m])) / y offset 1h or vector(1)', "prod")).toBe(
    'sum by (a) (rate(x{stack="prod",b="}"}[5m])) / y{stack="prod"} offset 1h or vector(1)',
  );
  expect(scoped("kubelet_volume_stats_used_bytes", "prod")).toMatch(/^kubelet_\w+\{namespace=~"app\|data\|/);
  expect(scoped("sum(node_load1) / sum(machine_cpu_cores)", "prod")).toBe(
    "sum(node_load1) / sum(machine_cpu_cores)",
  );
});

describe("the configuration", () => {
  const problems = (monitoring: object, environment = "development"): string[] =>
    readConfig(
      { "groundwork:monitoring": JSON.stringify(monitoring), "groundwork:environment": environment },
      new Set(),
    ).problems.filter((problem) => /monitoring|images\.(prometheus|alertmanager)/.test(problem));

  test("needs no more than the namespace, and nobody to tell in production", () => {
    expect(problems({ existing: { namespace: "observability" } })).toEqual([]);
    expect(problems({ existing: { namespace: "observability" }, replicas: 2 }, "production")).toEqual([]);
    expect(problems({ existing: { namespace: "No" } }).join()).toContain(
      "groundwork:monitoring.existing.namespace",
    );
  });

  test("refuses what only a Prometheus of its own heeds", () => {
    const own = { retentionDays: 30, storageGiB: 10, remoteWrite: { url: "https://m.example.com" } };
    const notifications = { webhookUrl: "https://alerts.example.com" };
    const found = problems({ existing: { namespace: "observability" }, ...own, notifications });
    for (const key of ["retentionDays", "storageGiB", "remoteWrite", "notifications.webhookUrl"])
      expect(found).toContain(
        `groundwork:monitoring.${key}: has no effect with monitoring.existing, which its owners look after; remove it`,
      );
    expect(found).toHaveLength(4);
  });
});

test("its namespace comes in where the stack's own did, and is asked by Grafana", () => {
  const { workloads, flows } = watchedBy({ port: 9091 }, stackFlows("cluster", "cluster"));
  expect(Object.keys(workloads)).not.toContain("alertmanager");
  expect(flows).toContainEqual({ from: "existingPrometheus", to: "postgres", port: 9187 });
  expect(flows).toContainEqual({ from: "grafana", to: "existingPrometheus", port: 9091 });
  const named = new Set(flows.flatMap(({ from, to }) => [from, to]));
  for (const gone of ["prometheus", "alertmanager", "node-exporter"]) expect(named).not.toContain(gone);
  expect(watchedBy(undefined, stackFlows("cluster", "cluster"))).toEqual(stackFlows("cluster", "cluster"));
});
