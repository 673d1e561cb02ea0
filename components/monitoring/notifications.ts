import { parse, stringify } from "yaml";
import { z } from "zod";

import { manifestFiles } from "../manifests.ts";
import type { StoredSecret } from "../secrets/secretStore.ts";

/** Where alerts are sent. Each channel gets warnings and critical alerts alike; none is needed. */
export interface AlertNotifications {
  readonly slack?: {
    /** Incoming webhook. */
    readonly webhookUrl: StoredSecret;
    /** Channel, with its "#". */
    readonly channel: string;
  };
  readonly email?: {
    /** Mail server as host:port; it must offer STARTTLS, or on port 465 speak TLS from the start. */
    readonly smarthost: string;
    /** Sender's address. */
    readonly from: string;
    /** Receivers' addresses. */
    readonly to: readonly string[];
    /** How to sign in to the mail server; absent when it asks for nothing. */
    readonly credentials?: { readonly username: string; readonly password: StoredSecret };
    /** PEM of the authority of the server's certificate; absent when a public one vouches for it. */
    readonly ca?: string;
  };
  /** URL that alerts are posted to, as Alertmanager's JSON. */
  readonly webhookUrl?: string;
  /** Told every five minutes that alerting works; raises the alarm when that stops. */
  readonly deadMansSwitch?: {
    /** URL that is posted to. */
    readonly url: StoredSecret;
  };
}

export const slackChannelPattern = /^#[\p{L}\p{N}_-]{1,80}$/u;
/** Host name or IPv4 address, and a port from 1 to 65535. */
export const smarthostPattern =
  /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?:(?:[1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5])$/i;

const files = {
  slack: "slack-webhook-url",
  email: "smtp-password",
  deadMansSwitch: "dead-mans-switch-url",
} as const;

const routingSchema = z.looseObject({ receivers: z.array(z.looseObject({ name: z.string() })) });

const title = '{{ template "groundwork.title" . }}';
const text = '{{ template "groundwork.text" . }}';

/** The channels' credentials, file name → secret. */
export function secretFiles({
  slack,
  email,
  deadMansSwitch,
}: AlertNotifications): Record<string, StoredSecret> {
  return {
    ...(slack && { [files.slack]: slack.webhookUrl }),
    ...(email?.credentials && { [files.email]: email.credentials.password }),
    ...(deadMansSwitch && { [files.deadMansSwitch]: deadMansSwitch.url }),
  };
}

/**
 * The files of `k8s-manifests/alertmanager`, each receiver with the channels that are configured.
 * @throws {Error} naming the value, when an address cannot be one.
 */
export function alertmanagerFiles(
  notifications: AlertNotifications,
  credentialsPath: string,
): Record<string, string> {
  const base = manifestFiles("alertmanager");
  const routing = routingSchema.parse(parse(base["alertmanager.yml"] ?? ""));
  const people = {
    ...slackConfig(notifications, credentialsPath),
    ...emailConfig(notifications, credentialsPath),
    ...webhookConfig(notifications),
  };
  const channels: Record<string, object> = {
    team: people,
    "on-call": people,
    "dead-mans-switch": deadMansSwitchConfig(notifications, credentialsPath),
  };
  const receivers = routing.receivers.map((receiver) => ({ ...receiver, ...channels[receiver.name] }));
  return { ...base, "alertmanager.yml": stringify({ ...routing, receivers }) };
}

function slackConfig({ slack }: AlertNotifications, credentialsPath: string): object {
  if (!slack) return {};
  check("slack.channel", slack.channel, slackChannelPattern, "a channel such as #alerts");
  const api = { api_url_file: `${credentialsPath}/${files.slack}` };
  return { slack_configs: [{ ...api, channel: slack.channel, send_resolved: true, title, text }] };
}

function emailConfig({ email }: AlertNotifications, credentialsPath: string): object {
  if (!email) return {};
  const address = /^[^\s@<>{}]+@[^\s@<>{}]+$/;
  check("email.smarthost", email.smarthost, smarthostPattern, "host:port, such as smtp.example.com:587");
  check("email.from", email.from, address, "an address such as alerts@example.com");
  for (const to of email.to) check("email.to", to, address, "addresses such as you@example.com");
  return {
    email_configs: [
      {
        smarthost: email.smarthost,
        from: email.from,
        to: email.to.join(", "),
        // It means STARTTLS. On 465 there is TLS from the first byte on, within which nobody offers it.
        require_tls: !email.smarthost.endsWith(":465"),
        ...(email.ca !== undefined && { tls_config: { ca: email.ca } }),
        send_resolved: true,
        headers: { Subject: title },
        html: "",
        text,
        ...(email.credentials && {
          auth_username: email.credentials.username,
          auth_password_file: `${credentialsPath}/${files.email}`,
        }),
      },
    ],
  };
}

function webhookConfig({ webhookUrl }: AlertNotifications): object {
  if (webhookUrl === undefined) return {};
  check("webhookUrl", webhookUrl, /^https?:\/\/[^\s@{}]+$/, "an http or https URL without a user name");
  return { webhook_configs: [{ url: webhookUrl, send_resolved: true }] };
}

function deadMansSwitchConfig({ deadMansSwitch }: AlertNotifications, credentialsPath: string): object {
  if (!deadMansSwitch) return {};
  return {
    webhook_configs: [{ url_file: `${credentialsPath}/${files.deadMansSwitch}`, send_resolved: false }],
  };
}

function check(what: string, found: string, pattern: RegExp, allowed: string): void {
  if (!pattern.test(found)) {
    throw new Error(`notifications: ${what} is ${JSON.stringify(found)}; it must be ${allowed}`);
  }
}
