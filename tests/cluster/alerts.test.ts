/** From a cause to the people who are told of it: every step for real, with receivers of the tests' own. */
import type { V1Deployment } from "@kubernetes/client-node";
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import {
  mailServer,
  metricsStore,
  reachableAddress,
  webhookReceiver,
  type Arrival,
  type MailServer,
} from "./receivers.ts";
import { applySettings } from "./stackSettings.ts";
import { ask, Client, get, kubectl, readyPods, runJob, waitFor } from "./support.ts";

type Webhook = Awaited<ReturnType<typeof webhookReceiver>>;

let webhook: Webhook;
let mail: MailServer;
let store: Awaited<ReturnType<typeof metricsStore>>;
let undo: (() => Promise<void>) | undefined;

beforeAll(async () => {
  const address = await reachableAddress();
  const password = randomBytes(16).toString("hex");
  webhook = await webhookReceiver();
  mail = await mailServer(address, "alerts", password);
  store = await metricsStore("metrics", password);
  const at = (path: string) => `http://${address}:${webhook.port}${path}`;
  undo = await applySettings({
    plain: {
      "groundwork:monitoring.replicas": "2",
      "groundwork:monitoring.notifications": {
        webhookUrl: at("/alerts"),
        "deadMansSwitch.port": String(webhook.port),
        "email.smarthost": `${address}:${mail.port}`,
        "email.from": "alerts@example.com",
        "email.to[0]": "on-call@example.com",
        "email.username": "alerts",
        "email.ca": mail.ca,
      },
      "groundwork:monitoring.remoteWrite": {
        url: `http://${address}:${store.port}/write`,
        auth: "basic",
        username: "metrics",
      },
    },
    secret: {
      "groundwork:deadMansSwitchUrl": at("/switch"),
      "groundwork:smtpPassword": password,
      "groundwork:remoteWriteCredential": password,
    },
  });
}, 240_000);

afterAll(async () => {
  await undo?.();
  await Promise.all([webhook.close(), mail.close(), store.close()]);
}, 240_000);

const rulesShape = z.object({
  data: z.object({
    groups: z.array(
      z.object({ rules: z.array(z.object({ name: z.string(), duration: z.number().optional() })) }),
    ),
  }),
});
const vectorShape = z.object({
  data: z.object({ result: z.array(z.object({ value: z.tuple([z.number(), z.string()]) })) }),
});
const activeShape = z.object({
  data: z.object({
    alerts: z.array(z.object({ labels: z.object({ alertname: z.string() }), state: z.string() })),
  }),
});

/** The `for` of a rule as Prometheus has it, s. */
async function pendingSeconds(alert: string): Promise<number> {
  const { groups } = rulesShape.parse(await ask("prometheus", "/api/v1/rules")).data;
  const rule = groups.flatMap(({ rules }) => rules).find(({ name }) => name === alert);
  if (rule?.duration === undefined) throw new Error(`Prometheus has no alert ${alert}`);
  return rule.duration;
}

async function statesOf(alert: string): Promise<string[]> {
  const { alerts } = activeShape.parse(await ask("prometheus", "/api/v1/alerts")).data;
  return alerts.filter(({ labels }) => labels.alertname === alert).map(({ state }) => state);
}

function arrivalOf(alert: string, status: string, arrivals: readonly Arrival[]): Arrival {
  const found = arrivals.find((arrival) => arrival.alert === alert && arrival.status === status);
  if (!found) throw new Error(`What came is ${JSON.stringify(arrivals)}`);
  return found;
}

async function scaleApp(replicas: number): Promise<void> {
  await kubectl("scale", "--namespace=app", "deployment/app", `--replicas=${replicas}`);
}

test("whoever watches that alerting works is told so", async () => {
  await waitFor("a post to the dead man's switch", 150, () => {
    arrivalOf("Watchdog", "firing", webhook.at("/switch"));
  });
});

test("samples are also written to another store, which asks who writes", async () => {
  await waitFor("three writes", 90, () => {
    expect(store.writes()).toBeGreaterThanOrEqual(3);
  });
});

test("two Alertmanagers know of each other", async () => {
  const query = encodeURIComponent("min(alertmanager_cluster_members)");
  await waitFor("both in one cluster", 120, async () => {
    const { result } = vectorShape.parse(await ask("prometheus", `/api/v1/query?query=${query}`)).data;
    expect(result.map(({ value: [, members] }) => members)).toEqual(["2"]);
  });
});

/** Ends one of the two at once, as a lost node does. */
async function killAlertmanager(): Promise<void> {
  const pod = ["--namespace=monitoring", "pod", "alertmanager-0"];
  await kubectl("delete", ...pod, "--force", "--grace-period=0", "--wait=false");
}

test("a service that cannot be used is told to the webhook and by mail within a minute of its time, and its end, too, while an Alertmanager dies", async () => {
  const alert = "HealthFailing";
  const allowedSeconds = (await pendingSeconds(alert)) + 60;
  const { spec } = (await get("--namespace=app", "deployment", "app")) as V1Deployment;
  const user = new Client();
  await waitFor("a healthy service before the fault", 60, async () => {
    expect((await user.get("/ready")).status).toBe(200);
    expect(await statesOf(alert)).toEqual([]);
  });

  const caused = Date.now();
  await scaleApp(0);
  let mended: number;
  try {
    await waitFor("users see errors", 30, async () => {
      expect((await user.get("/ready")).status).toBeGreaterThanOrEqual(500);
    });
    await waitFor(`${alert} pending`, 60, async () => {
      expect(await statesOf(alert)).toContain("pending");
    });
    await waitFor(`${alert} firing`, 120, async () => {
      expect(await statesOf(alert)).toContain("firing");
    });
    await killAlertmanager();
    for (const arrivals of [webhook.at.bind(webhook, "/alerts"), () => mail.arrivals]) {
      const { at } = await waitFor(`${alert} arrives`, 60, () => arrivalOf(alert, "firing", arrivals()));
      expect((at - caused) / 1000).toBeLessThanOrEqual(allowedSeconds);
    }
    // Once more, now that it has been told: the other must not think that it has to.
    await waitFor("the Alertmanager's replacement", 60, async () => {
      expect(await readyPods("alertmanager")).toHaveLength(2);
    });
    await killAlertmanager();
    await sleep(45_000);
  } finally {
    mended = Date.now();
    await scaleApp(spec?.replicas ?? 1);
  }

  const ended = await waitFor(`the end of ${alert} arrives`, 180, () => [
    arrivalOf(alert, "resolved", webhook.at("/alerts")),
    arrivalOf(alert, "resolved", mail.arrivals),
  ]);
  // An Alertmanager that has just come back may tell the end before it has heard that other probes still fail.
  await waitFor(`${alert} at its end`, 60, async () => {
    expect(await statesOf(alert)).toEqual([]);
  });
  const said = webhook.at("/alerts").flatMap((one) => (one.alert === alert ? [one.said] : []));
  // One of the two speaks; where one has just died or come back, both may, which is better than neither.
  for (const one of said) expect(said.filter((other) => other === one).length).toBeLessThanOrEqual(2);
  const seconds = (from: number, { at }: Arrival) => ((at - from) / 1000).toFixed(1);
  const begun = [webhook.at("/alerts"), mail.arrivals].map((arrivals) =>
    arrivalOf(alert, "firing", arrivals),
  );
  console.log(
    `${alert}: cause to webhook and mail ${begun.map((one) => seconds(caused, one)).join(" and ")} s ` +
      `(allowed ${allowedSeconds}), mending to their all-clear ${ended.map((one) => seconds(mended, one)).join(" and ")} s`,
  );
});

test("a further store that takes nothing more is an alert", async () => {
  store.refuse();
  await waitFor("RemoteWriteFailing pending", 120, async () => {
    expect(await statesOf("RemoteWriteFailing")).toContain("pending");
  });
});

test("whoever watches that alerting works is told so again after five minutes, and not more often", async () => {
  const second = await waitFor("a second post", 330, () => {
    const [, again] = webhook.at("/switch");
    if (!again) throw new Error("one post so far");
    return again;
  });
  const [first] = webhook.at("/switch");
  expect((second.at - (first?.at ?? 0)) / 1000).toBeGreaterThan(230);
});

test("while the exporter of the backups is away, backups are made, and it is missed", async () => {
  const scale = (replicas: number) =>
    kubectl("scale", "--namespace=data", "deployment/backup-exporter", `--replicas=${replicas}`);
  await scale(0);
  try {
    expect((await runJob("data", "cronjob/backup-hourly")).succeeded).toBe(true);
    await waitFor("TargetMissing pending", 90, async () => {
      expect(await statesOf("TargetMissing")).toContain("pending");
    });
  } finally {
    await scale(1);
  }
});

test("of two Prometheus one goes on while the other is away, and misses it", async () => {
  const nodes = (await kubectl("get", "nodes", "--output=name")).trim().split("\n");
  expect(await readyPods("prometheus")).toHaveLength(2);
  expect(await statesOf("PodsMissing")).toEqual([]);
  // So that it finds no node to come back to.
  await kubectl("cordon", ...nodes);
  try {
    await kubectl("delete", "pod", "prometheus-1", "--namespace=monitoring", "--wait=false");
    await waitFor("PodsMissing pending", 120, async () => {
      expect(await statesOf("PodsMissing")).toContain("pending");
    });
  } finally {
    await kubectl("uncordon", ...nodes);
  }
  await waitFor("both again", 120, async () => {
    expect(await readyPods("prometheus")).toHaveLength(2);
    expect(await statesOf("PodsMissing")).toEqual([]);
  });
});
