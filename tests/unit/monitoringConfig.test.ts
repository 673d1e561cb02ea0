import { describe, expect, test } from "vitest";

import { readConfig } from "../../components/config.ts";
import { flowsOf } from "../../components/flows.ts";
import { monitoringSchema } from "../../components/monitoring/schema.ts";

const monitoringProblems = (
  monitoring: unknown,
  secrets: Readonly<Record<string, string>> = {},
  plain = false,
) => {
  const given = Object.fromEntries(
    Object.entries(secrets).map(([key, value]) => [`groundwork:${key}`, value]),
  );
  const all = { "groundwork:monitoring": JSON.stringify(monitoring), ...given };
  const found = readConfig(all, new Set(plain ? [] : Object.keys(given))).problems;
  return found.filter(
    (problem) => problem.includes("monitoring") || Object.keys(given).some((key) => problem.includes(key)),
  );
};
const email = { smarthost: "smtp.example.com:587", from: "alerts@example.com", to: ["you@example.com"] };

describe("the notifications' configuration", () => {
  test("takes every channel with what goes with it, and none at all", () => {
    expect(monitoringProblems({})).toEqual([]);
    const notifications = {
      slack: { channel: "#障害-alerts" },
      email: { ...email, username: "alerts", ca: "-----BEGIN CERTIFICATE-----" },
      webhookUrl: "https://alerts.example.com/hook?team=1",
      deadMansSwitch: {},
    };
    const secrets = {
      slackWebhookUrl: "https://hooks.slack.com/services/x",
      smtpPassword: "x",
      deadMansSwitchUrl: "https://switch.example.com/x",
    };
    expect(monitoringProblems({ notifications }, secrets)).toEqual([]);
  });

  test.each([
    [
      "slack.channel",
      { slack: { channel: "alerts" } },
      /must be a channel such as #alerts \(found "alerts"\)/,
    ],
    ["email.smarthost", { email: { ...email, smarthost: "smtp.example.com" } }, /must be host:port/],
    ["email.smarthost", { email: { ...email, smarthost: "smtp.example.com:70000" } }, /must be host:port/],
    ["email.from", { email: { ...email, from: "nobody" } }, /email.*\(found "nobody"\)/],
    ["email.to", { email: { ...email, to: [] } }, /1/],
    ["email.to.1", { email: { ...email, to: ["you@example.com", "{{ . }}"] } }, /\{\{ \. \}\}/],
    ["email.ca", { email: { ...email, ca: "/etc/ca.pem" } }, /must be the PEM of a certificate/],
    ["webhookUrl", { webhookUrl: "ftp://alerts.example.com" }, /Invalid URL \(found "ftp:/],
    ["webhookUrl", { webhookUrl: "https://me:secret@alerts.example.com" }, /no user name or password/],
    ["deadMansSwitch.port", { deadMansSwitch: { port: 0 } }, /found 0/],
  ])("refuses a bad %s, naming the key and what it may be", (key, notifications, message) => {
    const [problem, ...others] = monitoringProblems({ notifications });
    expect(problem).toContain(`groundwork:monitoring.notifications.${key}: `);
    expect(problem).toMatch(message);
    expect(others).toEqual([]);
  });

  test.each([
    ["slackWebhookUrl", { slack: { channel: "#alerts" } }],
    ["smtpPassword", { email: { ...email, username: "alerts" } }],
    ["deadMansSwitchUrl", { deadMansSwitch: {} }],
  ])("asks for %s where it is needed, and says when nothing uses it", (key, notifications) => {
    expect(
      readConfig(
        { "groundwork:monitoring": JSON.stringify({ notifications }), "groundwork:secrets": "{}" },
        new Set(),
      ).problems,
    ).toContainEqual(
      expect.stringMatching(
        new RegExp(
          `groundwork:${key}: missing; groundwork:monitoring\\.notifications\\..* config set --secret groundwork:${key}$`,
        ),
      ) as string,
    );
    expect(monitoringProblems({}, { [key]: "https://x.example.com/y" })).toEqual([
      expect.stringContaining(`groundwork:${key}: nothing uses it; set groundwork:monitoring.notifications.`),
    ]);
  });

  test.each([
    ["remoteWrite.url", { url: "metrics.example.com" }, /found "metrics/],
    ["remoteWrite.auth", { url: "https://m.example.com", auth: "digest" }, /found "digest"/],
    [
      "remoteWrite.username",
      { url: "https://m.example.com", auth: "basic" },
      /missing; auth: basic needs it/,
    ],
    [
      "remoteWrite.username",
      { url: "https://m.example.com", username: "me" },
      /goes with auth: basic only .found auth: none/,
    ],
  ])("refuses a bad %s", (key, remoteWrite, message) => {
    const found = monitoringProblems({ remoteWrite });
    expect(found).toContainEqual(expect.stringContaining(`groundwork:monitoring.${key}: `) as string);
    expect(found.join("\n")).toMatch(message);
  });

  test("asks for the further store's credential where it signs in, and opens its port alone", () => {
    const remoteWrite = { url: "https://m.example.com:9009/push", auth: "bearer" };
    const all = { "groundwork:monitoring": JSON.stringify({ remoteWrite }), "groundwork:secrets": "{}" };
    expect(readConfig(all, new Set()).problems.join("\n")).toContain(
      "groundwork:remoteWriteCredential: missing",
    );
    expect(monitoringProblems({ remoteWrite }, { remoteWriteCredential: "x" })).toEqual([]);
    const monitoring = monitoringSchema.parse({ remoteWrite });
    const { edge, app } = {
      edge: { mode: "nginx" },
      app: { egressPorts: [] as number[], container: { port: 3000, metricsPort: 9464 } },
    } as Parameters<typeof flowsOf>[0];
    const flows = flowsOf({ monitoring, edge, app, secrets: { store: "kubernetes" } });
    const out = flows.filter(({ from, to }) => from === "prometheus" && to === "internet");
    expect(out.map(({ port }) => port)).toEqual([9009]);
  });

  test("leaves to the vault what the vault may hold", () => {
    const all = {
      "groundwork:monitoring": '{"notifications":{"slack":{"channel":"#alerts"}}}',
      "groundwork:secrets": '{"store":"keyVault"}',
    };
    expect(readConfig(all, new Set()).problems.join("\n")).not.toContain("slackWebhookUrl");
  });

  test("does not print a secret, neither a malformed one nor one in plain text", () => {
    const notifications = { slack: { channel: "#alerts" } };
    const malformed = monitoringProblems({ notifications }, { slackWebhookUrl: "hunter2" });
    expect(malformed).toEqual([expect.stringContaining("must be the https URL of an incoming webhook")]);
    const plain = monitoringProblems({ notifications }, { slackWebhookUrl: "https://hunter2/x" }, true);
    expect(plain).toEqual([expect.stringContaining("is stored in plain text")]);
    expect([...malformed, ...plain].join()).not.toContain("hunter2");
  });
});
