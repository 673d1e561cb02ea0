import { readdir, readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { ask, waitFor } from "./support.ts";

const rulesDirectory = new URL("../../k8s-manifests/prometheus/rules/", import.meta.url);
const rule = z.object({ alert: z.string().optional(), record: z.string().optional() });
const ruleFile = z.object({ groups: z.array(z.object({ rules: z.array(rule) })) });

const targetsShape = z.object({
  data: z.object({
    activeTargets: z.array(
      z.object({ labels: z.object({ job: z.string() }), health: z.string(), lastError: z.string() }),
    ),
  }),
});
const loadedShape = z.object({
  data: z.object({
    groups: z.array(z.object({ rules: z.array(z.object({ name: z.string(), health: z.string() })) })),
  }),
});
const alertsShape = z.array(
  z.object({
    labels: z.object({ alertname: z.string() }),
    status: z.object({ state: z.string() }),
    endsAt: z.iso.datetime({ offset: true }),
  }),
);

test("Prometheus reaches everything that it scrapes", async () => {
  // Pods that other tests killed may have to be found again.
  await waitFor("every target up", 90, async () => {
    const targets = targetsShape.parse(await ask("prometheus", "/api/v1/targets?state=active")).data
      .activeTargets;
    expect(targets.filter(({ health }) => health !== "up")).toEqual([]);
    const jobs = new Set(targets.map(({ labels }) => labels.job));
    expect([...jobs]).toEqual(
      expect.arrayContaining([
        ...["edge", "app", "postgres", "backup", "prometheus", "alertmanager"],
        ...["probe", "kubelet", "resource", "cadvisor"],
      ]),
    );
  });
});

test("every rule in the repository is loaded and can be evaluated", async () => {
  const files = (await readdir(rulesDirectory)).map((name) =>
    readFile(new URL(name, rulesDirectory), "utf8"),
  );
  const written = (await Promise.all(files))
    .flatMap((content) => ruleFile.parse(parse(content)).groups)
    .flatMap(({ rules }) => rules.map(({ alert, record }) => alert ?? record ?? ""));
  expect(written).toContain("Watchdog");
  await waitFor("every rule evaluated", 90, async () => {
    const loaded = loadedShape
      .parse(await ask("prometheus", "/api/v1/rules"))
      .data.groups.flatMap(({ rules }) => rules);
    expect(loaded.map(({ name }) => name).sort()).toEqual([...written].sort());
    expect(loaded.filter(({ health }) => health !== "ok")).toEqual([]);
  });
});

test("alerts arrive at Alertmanager: the Watchdog is there, and kept alive", async () => {
  await waitFor("the Watchdog", 60, async () => {
    const filter = encodeURIComponent('alertname="Watchdog"');
    const alerts = alertsShape.parse(await ask("alertmanager", `/api/v2/alerts?filter=${filter}`));
    expect(alerts.map(({ status }) => status.state)).toEqual(["active"]);
    expect(alerts.filter(({ endsAt }) => Date.parse(endsAt) < Date.now())).toEqual([]);
  });
});

test("the database's and both Redis' own figures arrive, with lag and statements", async () => {
  const valueShape = z.object({
    data: z.object({ result: z.array(z.object({ value: z.tuple([z.number(), z.string()]) })) }),
  });
  const values = async (query: string) => {
    const answer = await ask("prometheus", `/api/v1/query?query=${encodeURIComponent(query)}`);
    return valueShape.parse(answer).data.result.map(({ value }) => Number(value[1]));
  };
  await waitFor("the exporters' figures", 60, async () => {
    expect(await values("min(pg_up)")).toEqual([1]);
    expect(await values("min(redis_up)")).toEqual([1]);
    expect(await values("count(redis_up)")).not.toEqual([1]);
    expect(await values("max(pg_replication_lag_seconds)")).toHaveLength(1);
    expect(await values("count(pg_stat_statements_calls_total) > bool 0")).toEqual([1]);
  });
});
