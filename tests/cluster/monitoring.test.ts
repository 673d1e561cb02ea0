import { readdir, readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { ask, kubectl, waitFor } from "./support.ts";

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
        ...["probe", "prober", "node", "kubelet", "resource", "cadvisor"],
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

const valueShape = z.object({
  data: z.object({ result: z.array(z.object({ value: z.tuple([z.number(), z.string()]) })) }),
});

async function values(query: string): Promise<number[]> {
  const answer = await ask("prometheus", `/api/v1/query?query=${encodeURIComponent(query)}`);
  return valueShape.parse(answer).data.result.map(({ value }) => Number(value[1]));
}

test("our own user signs in and reads, and loses that within a minute when sign-in is taken away", async () => {
  const success = 'min(probe_success{probe="sign-in"})';
  const succeeds = (value: number) => async (): Promise<void> => {
    expect(await values(success)).toEqual([value]);
  };
  await waitFor("the prober signs in", 90, succeeds(1));
  expect(await values('count(probe_step_seconds{step="read"} > 0)')).toHaveLength(1);
  const change = (disabled: boolean): Promise<string> => {
    const set = `disabled_at = ${disabled ? "now()" : "null"}`;
    const sql = `update users set ${set} where username = 'probe'`;
    const inPod = ["exec", "--namespace=data", "postgres-0", "--container=patroni", "--"];
    return kubectl(
      ...inPod,
      "psql",
      "--host=/run/patroni",
      "--username=postgres",
      "--dbname=app",
      "--command",
      sql,
    );
  };
  await change(true);
  try {
    await waitFor("the prober is refused", 60, succeeds(0));
  } finally {
    await change(false);
  }
  await waitFor("the prober signs in again", 60, succeeds(1));
});

test("the nodes' own figures arrive", async () => {
  await waitFor("memory, load and disks", 60, async () => {
    expect(await values("count(node_memory_MemAvailable_bytes > 0)")).toHaveLength(1);
    expect(await values("count(node_load1)")).toHaveLength(1);
    expect(await values("count(node_disk_io_time_seconds_total) > bool 0")).toEqual([1]);
  });
});

test("the database's and both Redis' own figures arrive, with lag and statements", async () => {
  await waitFor("the exporters' figures", 60, async () => {
    expect(await values("min(pg_up)")).toEqual([1]);
    expect(await values("min(redis_up)")).toEqual([1]);
    expect(await values("count(redis_up)")).not.toEqual([1]);
    expect(await values("max(pg_replication_lag_seconds)")).toHaveLength(1);
    expect(await values("count(pg_stat_statements_calls_total) > bool 0")).toEqual([1]);
  });
});
