import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, describe, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { z } from "zod";

import { dashboardFiles } from "../../components/monitoring/dashboards/index.ts";
import { render, stat } from "../../components/monitoring/dashboards/panels.ts";
import { checkPromql } from "../../components/monitoring/promql.ts";
import { checkRules, ruleFiles } from "../../components/monitoring/rules.ts";
import { runTool } from "./tools.ts";

const panelShape = z.object({
  title: z.string().min(1),
  description: z.string(),
  datasource: z.object({ uid: z.string() }),
  gridPos: z.object({ x: z.number(), y: z.number(), w: z.number(), h: z.number() }),
  targets: z.array(z.object({ expr: z.string(), legendFormat: z.string(), refId: z.string() })).min(1),
});
const dashboardShape = z.object({ uid: z.string(), title: z.string(), panels: z.array(panelShape).min(1) });
const dashboards = Object.entries(dashboardFiles()).map(([file, json]) => ({
  file,
  ...dashboardShape.parse(JSON.parse(json)),
}));
const manifests = join(import.meta.dirname, "..", "..", "k8s-manifests");
const folder = mkdtempSync(join(tmpdir(), "groundwork-dashboards-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

describe("the dashboards", () => {
  test("are the eight that people look for, each at an address of its own", () => {
    expect(dashboards.map(({ title }) => title)).toEqual([
      ...["Application overview", "Business", "System resources", "Database"],
      ...["Redis and queue", "Edge", "Backups", "Objectives"],
    ]);
    expect(new Set(dashboards.map(({ uid }) => uid)).size).toBe(dashboards.length);
    const { default_home_dashboard_path: home } = Object.fromEntries(
      readFileSync(join(manifests, "grafana", "grafana.ini"), "utf8")
        .split("\n")
        .map((line) => line.split(" = ") as [string, string]),
    );
    expect(home).toBe(`/etc/groundwork/grafana/dashboards/${String(dashboards[0]?.file)}`);
  });

  test("ask the one source that Grafana is given", () => {
    const { datasources } = parse(readFileSync(join(manifests, "grafana", "datasources.yaml"), "utf8")) as {
      datasources: { uid: string }[];
    };
    const used = dashboards.flatMap(({ panels }) => panels.map(({ datasource }) => datasource.uid));
    expect([...new Set(used)]).toEqual(datasources.map(({ uid }) => uid));
  });

  test.each(dashboards)("$title: panels have names of their own and lie side by side", ({ panels }) => {
    expect(new Set(panels.map(({ title }) => title)).size).toBe(panels.length);
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, cell) => `${x + (cell % w)},${y + Math.floor(cell / w)}`),
    );
    expect(new Set(cells).size).toBe(cells.length);
    for (const { gridPos } of panels) expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
  });

  test("ask what promtool takes, of series that a recording rule makes where their names say so", () => {
    const asked = dashboards.flatMap(({ panels }) =>
      panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
    );
    const path = join(folder, "queries.yaml");
    const queries = asked.map((expr, index) => ({ record: `query_${index}`, expr }));
    writeFileSync(path, stringify({ groups: [{ name: "dashboards", rules: queries }] }));
    const { passed, output } = runTool("promtool", ["check", "rules", path]);
    expect(passed, output).toBe(true);
    const recorded = Object.values(ruleFiles())
      .flatMap((text) => [...text.matchAll(/record: (\S+)/g)])
      .map(([, name]) => name);
    for (const [series] of asked.join(" ").matchAll(/\b[a-z]\w*(?::\w+)+/g))
      expect(recorded).toContain(series);
  });

  test.each([
    {
      title: "Answers liked",
      of: "three of four",
      series: { 'app_feedback_total{value="up"}': "0+3x60", 'app_feedback_total{value="down"}': "0+1x60" },
      shown: { "{}": 0.75 },
    },
    {
      title: "Answers liked",
      of: "none yet",
      series: { 'app_feedback_total{value="down"}': "0+1x60" },
      shown: { "{}": 0 },
    },
    {
      title: "Jobs over their time limit",
      of: "two workers, each with its own",
      series: {
        'app_jobs_overdue{queue="generate",instance="a"}': "1x60",
        'app_jobs_overdue{queue="generate",instance="b"}': "2x60",
      },
      shown: { '{queue="generate"}': 3 },
    },
    {
      title: "CPU by pod",
      of: "a kubelet that tells of the pod's own group beside its containers",
      series: {
        'container_cpu_usage_seconds_total{namespace="app",pod="a",container=""}': "0+180x60",
        'container_cpu_usage_seconds_total{namespace="app",pod="a",container="app"}': "0+120x60",
        'container_cpu_usage_seconds_total{namespace="app",pod="a",container="log"}': "0+60x60",
        'container_cpu_usage_seconds_total{id="/"}': "0+600x60",
      },
      shown: { '{namespace="app",pod="a"}': 3 },
    },
    {
      title: "Memory by pod",
      of: "such a kubelet",
      series: {
        'container_memory_working_set_bytes{namespace="app",pod="a",container=""}': "30x60",
        'container_memory_working_set_bytes{namespace="app",pod="a",container="app"}': "20x60",
        'container_memory_working_set_bytes{namespace="app",pod="a",container="log"}': "10x60",
        'container_memory_working_set_bytes{id="/"}': "100x60",
      },
      shown: { '{namespace="app",pod="a"}': 30 },
    },
  ])("$title, $of", ({ title, series, shown }) => {
    const panel = dashboards.flatMap(({ panels }) => panels).find((one) => one.title === title);
    const question = {
      expr: panel?.targets[0]?.expr,
      eval_time: "1h",
      exp_samples: Object.entries(shown).map(([labels, value]) => ({ labels, value })),
    };
    const given = Object.entries(series).map(([name, values]) => ({ series: name, values }));
    const path = join(folder, "panel.yaml");
    writeFileSync(
      path,
      stringify({ tests: [{ interval: "1m", input_series: given, promql_expr_test: [question] }] }),
    );
    const { passed, output } = runTool("promtool", ["test", "rules", path]);
    expect(passed, output).toBe(true);
  });

  test("are refused with dashboard, panel and place when a query is none", () => {
    const panels = [stat({ title: "Broken", unit: "short", queries: { a: "sum(rate(x[5m])" } })];
    expect(() => render({ name: "x", title: "X", panels }, (query) => query)).toThrow(
      'dashboard x, panel "Broken": "sum(rate(x[5m])" is no PromQL expression; it ends too early',
    );
  });
});

describe("rules that Prometheus would refuse", () => {
  const file = (rule: object): string => stringify({ groups: [{ name: "g", rules: [rule] }] });
  test.each([
    [
      "an expression that is none",
      file({ record: "a:b", expr: "sum(x) byy (y)" }),
      /^f: a:b: .*cannot go on with/,
    ],
    [
      "an alert without an expression",
      file({ alert: "A", annotations: {} }),
      /^f: groups\.0\.rules\.0: must be an alert/,
    ],
    [
      "a misspelt field",
      file({ alert: "A", expr: "x", fro: "5m", annotations: {} }),
      /^f: groups\.0\.rules\.0/,
    ],
    [
      "a duration that is none",
      file({ alert: "A", expr: "x", for: "5 minutes", annotations: {} }),
      /^f: .*rules\.0/,
    ],
    ["what is no YAML", "groups: [", /^f is no YAML: /],
  ])("%s stops the preview, with file and rule", (_, text, message) => {
    expect(() => {
      checkRules("f", text);
    }).toThrow(message);
  });

  test("those of the repository are not among them", () => {
    expect(Object.keys(ruleFiles()).length).toBeGreaterThan(5);
  });

  test("an expression is told where it goes wrong", () => {
    expect(() => {
      checkPromql("here", "up == == 1");
    }).toThrow('here: "up == == 1" is no PromQL expression; it cannot go on with "== 1"');
  });
});
