/** From a cause to the people who are told of it: every step for real, with receivers of the tests' own. */
import type { V1Deployment } from "@kubernetes/client-node";
import { randomBytes } from "node:crypto";
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
import { ask, Client, get, kubectl, waitFor } from "./support.ts";

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

test("whoever watches that alerting works is told so, again and again", async () => {
  await waitFor("two posts to the dead man's switch", 150, () => {
    const posts = webhook.at("/switch");
    expect(posts.length).toBeGreaterThanOrEqual(2);
    expect(posts.map(({ alert, status }) => `${status} ${alert}`)).toEqual(
      posts.map(() => "firing Watchdog"),
    );
  });
});

test("samples are also written to another store, which asks who writes", async () => {
  await waitFor("three writes", 90, () => {
    expect(store.writes()).toBeGreaterThanOrEqual(3);
  });
});

test("a service that cannot be used is told to the webhook and by mail within a minute of its time, and its end, too", async () => {
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
    for (const arrivals of [webhook.at.bind(webhook, "/alerts"), () => mail.arrivals]) {
      const { at } = await waitFor(`${alert} arrives`, 60, () => arrivalOf(alert, "firing", arrivals()));
      expect((at - caused) / 1000).toBeLessThanOrEqual(allowedSeconds);
    }
  } finally {
    mended = Date.now();
    await scaleApp(spec?.replicas ?? 1);
  }

  const ended = await waitFor(`the end of ${alert} arrives`, 180, () => [
    arrivalOf(alert, "resolved", webhook.at("/alerts")),
    arrivalOf(alert, "resolved", mail.arrivals),
  ]);
  expect(await statesOf(alert)).toEqual([]);
  const seconds = (from: number, { at }: Arrival) => ((at - from) / 1000).toFixed(1);
  const begun = [webhook.at("/alerts"), mail.arrivals].map((arrivals) =>
    arrivalOf(alert, "firing", arrivals),
  );
  console.log(
    `${alert}: cause to webhook and mail ${begun.map((one) => seconds(caused, one)).join(" and ")} s ` +
      `(allowed ${allowedSeconds}), mending to their all-clear ${ended.map((one) => seconds(mended, one)).join(" and ")} s`,
  );
});
