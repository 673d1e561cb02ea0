import * as pulumi from "@pulumi/pulumi";

import type { StackValues } from "../configSchema.ts";
import { serviceHost } from "../podDefaults.ts";
import type { SecretStore } from "../secrets/secretStore.ts";
import type { Namespaces } from "../types.ts";
import { ofThisStack } from "./existingPrometheus.ts";
import type { AlertNotifications } from "./notifications.ts";
import type { MonitoringValues } from "./schema.ts";
import type { RemoteWrite } from "./scrapes.ts";

type Notifications = MonitoringValues["notifications"];

/** Secrets that go with `groundwork:monitoring`; each is absent when it is not used, or when the vault holds it. */
export interface MonitoringCredentials {
  /** Slack's incoming webhook. */
  readonly slackWebhookUrl?: pulumi.Output<string>;
  /** Password of the mail server's user. */
  readonly smtpPassword?: pulumi.Output<string>;
  /** Who watches that alerting works. */
  readonly deadMansSwitchUrl?: pulumi.Output<string>;
  /** Password or token of the store that metrics are also written to. */
  readonly remoteWriteCredential?: pulumi.Output<string>;
}

/** What the configuration says of monitoring as the component takes it; credentials are kept in the store. */
export function monitoringSettings(
  config: MonitoringCredentials & Pick<StackValues, "monitoring" | "environment">,
  secrets: SecretStore,
) {
  const production = config.environment === "production";
  const {
    grafana,
    existing,
    retentionDays = 15,
    storageGiB = 2,
    resources,
    notifications,
    remoteWrite,
  } = config.monitoring;
  return {
    grafana,
    run: {
      existing,
      replicas: config.monitoring.replicas ?? (production ? 2 : 1),
      separateNodes: production,
    },
    prometheus: {
      retentionDays,
      storageGiB,
      resources,
      ...(remoteWrite && { remoteWrite: withCredential(remoteWrite, config, secrets) }),
    },
    alertmanager: { notifications: withCredentials(notifications, config, secrets) },
  };
}

function withCredentials(
  { slack, email, webhookUrl, deadMansSwitch }: Notifications,
  credentials: MonitoringCredentials,
  secrets: SecretStore,
): AlertNotifications {
  return {
    ...(slack && {
      slack: { ...slack, webhookUrl: secrets.keep("slack-webhook-url", credentials.slackWebhookUrl) },
    }),
    ...(email && { email: withPassword(email, credentials, secrets) }),
    ...(webhookUrl !== undefined && { webhookUrl }),
    ...(deadMansSwitch && {
      deadMansSwitch: { url: secrets.keep("dead-mans-switch-url", credentials.deadMansSwitchUrl) },
    }),
  };
}

function withCredential(
  { url, auth, username }: NonNullable<MonitoringValues["remoteWrite"]>,
  { remoteWriteCredential }: MonitoringCredentials,
  secrets: SecretStore,
): RemoteWrite {
  if (auth === "none") return { url };
  const credential = secrets.keep("remote-write-credential", remoteWriteCredential);
  return { url, credential, ...(username !== undefined && { username }) };
}

function withPassword(
  { smarthost, from, to, username, ca }: NonNullable<Notifications["email"]>,
  { smtpPassword }: MonitoringCredentials,
  secrets: SecretStore,
): NonNullable<AlertNotifications["email"]> {
  return {
    smarthost,
    from,
    to,
    ...(ca !== undefined && { ca }),
    ...(username !== undefined && {
      credentials: { username, password: secrets.keep("smtp-password", smtpPassword) },
    }),
  };
}

/** Where figures are asked for, and a question as it must be put there. */
export interface MetricsSource {
  readonly url: pulumi.Output<string>;
  readonly asked: (expression: string) => string;
}

/** Of the Prometheus that there is already, or else of the stack's own. */
export function metricsSource(
  { monitoring: { existing } }: Pick<StackValues, "monitoring">,
  { monitoring }: Pick<Namespaces, "monitoring">,
): MetricsSource {
  const { namespace, service, port } = existing ?? {
    namespace: monitoring,
    service: "prometheus",
    port: 9090,
  };
  return {
    url: pulumi.interpolate`http://${serviceHost(service, namespace)}:${port}`,
    asked: existing ? ofThisStack : (expression) => expression,
  };
}

/** TCP ports outside the cluster that Alertmanager must reach to tell people, each once. */
export function notificationPorts({ slack, email, webhookUrl, deadMansSwitch }: Notifications): number[] {
  return [
    ...new Set([
      ...(slack ? [443] : []),
      ...(email ? [Number(email.smarthost.split(":")[1])] : []),
      ...(webhookUrl === undefined ? [] : [portOf(webhookUrl)]),
      ...(deadMansSwitch ? [deadMansSwitch.port] : []),
    ]),
  ];
}

/** TCP port outside the cluster that Prometheus writes to, if it does. */
export function remoteWritePorts({ remoteWrite }: MonitoringValues): number[] {
  return remoteWrite ? [portOf(remoteWrite.url)] : [];
}

function portOf(url: string): number {
  const { port, protocol } = new URL(url);
  return port === "" ? (protocol === "https:" ? 443 : 80) : Number(port);
}
