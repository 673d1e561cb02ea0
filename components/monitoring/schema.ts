import { z } from "zod";

import { kubernetesName, resources, webUrl } from "../schemaParts.ts";
import { slackChannelPattern, smarthostPattern } from "./notifications.ts";

const webhook = webUrl(/^https?$/);

/** A further store of metrics, such as Mimir or Thanos. */
const remoteWriteSchema = z.strictObject({
  url: webhook.describe("where every sample is also written; another store's remote-write URL"),
  auth: z
    .enum(["none", "basic", "bearer"])
    .default("none")
    .describe("how to sign in there; basic and bearer need groundwork:remoteWriteCredential"),
  username: z.string().min(1).optional().describe("who signs in, with auth: basic"),
});

/** A Prometheus that somebody else runs. */
const existingSchema = z.strictObject({
  namespace: kubernetesName.describe("its namespace"),
  service: kubernetesName
    .default("prometheus-operated")
    .describe("its Service, which answers queries by http"),
  port: z.int().min(1).max(65_535).default(9090).describe("port of the Service and of its pods"),
  labels: z
    .record(z.string(), z.string())
    .default({})
    .describe("labels that it selects ScrapeConfigs and PrometheusRules by"),
});

/** Whom alerts are told to. The secrets that go with it are keys of their own: they must be set with `--secret`. */
const notificationsSchema = z
  .strictObject({
    slack: z
      .strictObject({
        channel: z
          .string()
          .regex(slackChannelPattern, "must be a channel such as #alerts")
          .describe("channel that alerts are written to"),
      })
      .optional()
      .describe("Slack; needs groundwork:slackWebhookUrl"),
    email: z
      .strictObject({
        smarthost: z
          .string()
          .regex(smarthostPattern, "must be host:port, such as smtp.example.com:587")
          .describe("mail server; it must offer TLS"),
        from: z.email().describe("sender's address"),
        to: z.array(z.email()).min(1).describe("receivers' addresses"),
        username: z
          .string()
          .min(1)
          .optional()
          .describe("who signs in to the mail server; needs groundwork:smtpPassword"),
        ca: z
          .string()
          .regex(/^-----BEGIN CERTIFICATE-----/, "must be the PEM of a certificate")
          .optional()
          .describe("authority of the mail server's certificate, unless a public one vouches for it"),
      })
      .optional()
      .describe("e-mail"),
    webhookUrl: webhook
      .optional()
      .describe("URL that alerts are posted to, as Alertmanager's JSON; it is not kept secret"),
    deadMansSwitch: z
      .strictObject({
        port: z.int().min(1).max(65_535).default(443).describe("port of the URL, for the network policy"),
      })
      .optional()
      .describe("who raises the alarm when alerting stops; needs groundwork:deadMansSwitchUrl"),
  })
  .prefault({});

/** `groundwork:monitoring`. */
export const monitoringSchema = z
  .strictObject({
    grafana: z.boolean().default(true).describe("whether to run Grafana"),
    replicas: z
      .int()
      .min(1)
      .max(5)
      .optional()
      .describe("pods each of Prometheus, Alertmanager and the prober; without it 1, in production 2"),
    existing: existingSchema
      .optional()
      .describe(
        "a Prometheus that is there already, of the Prometheus Operator; without it the stack runs its own",
      ),
    retentionDays: z
      .int()
      .min(1)
      .max(400)
      .optional()
      .describe(
        "days that metrics are kept; without it 15. The availability budget is that of 30, if so many are kept",
      ),
    storageGiB: z.int().min(1).max(4_096).optional().describe("volume of Prometheus, GiB; without it 2"),
    resources: resources(100, 216).describe("CPU and memory of each pod of Prometheus"),
    remoteWrite: remoteWriteSchema
      .optional()
      .describe("a store that keeps metrics for longer, or of many stacks"),
    notifications: notificationsSchema.describe("whom alerts are told to"),
  })
  .prefault({});

/** Keys that go with `groundwork:monitoring` and must be set with `--secret`. */
export const monitoringSecrets = {
  slackWebhookUrl: z
    .string()
    .regex(/^https:\/\/[^\s/@]+\/\S+$/, "must be the https URL of an incoming webhook")
    .optional()
    .describe("Slack's incoming webhook, for monitoring.notifications.slack"),
  smtpPassword: z.string().min(1).optional().describe("password for monitoring.notifications.email.username"),
  deadMansSwitchUrl: z
    .string()
    .regex(/^https?:\/\/[^\s/@]+(\/\S*)?$/, "must be an http or https URL without a user name")
    .optional()
    .describe("whom monitoring.notifications.deadMansSwitch tells that alerting works"),
  remoteWriteCredential: z
    .string()
    .min(1)
    .optional()
    .describe("password or token for monitoring.remoteWrite"),
} as const;

export type MonitoringValues = z.output<typeof monitoringSchema>;
