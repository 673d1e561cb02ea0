/** A stack's settings as the program will read them, without the engine that decrypts its secrets. */
import { join } from "node:path";
import { parse } from "yaml";
import { merge, projectDirectory, repository } from "./stack.ts";
import { readIfPresent } from "./system.ts";

type Values = Record<string, unknown>;

/** What a stack that was never brought up lacks; each passes the configuration's checks. */
const placeholders = {
  "groundwork:images": {
    app: "<images.app>:<tag>",
    postgres: "<images.postgres>:<tag>",
    exporters: "<images.exporters>:<tag>",
  },
  "groundwork:backups": { ageRecipient: `age1${"q".repeat(58)}` },
  "groundwork:tlsBundle": "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----",
  "groundwork:internalCa": "-----BEGIN CERTIFICATE-----",
  "groundwork:postgresTls": "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----",
  "groundwork:redisTls": "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----",
  "groundwork:appTls": "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----",
  "groundwork:ageIdentity": `AGE-SECRET-KEY-1${"Q".repeat(58)}`,
};

/** Secrets that only some stacks have. */
const optionalSecrets = {
  "groundwork:postgresCa": "-----BEGIN CERTIFICATE-----",
  "groundwork:postgresAdminPassword": "<postgresAdminPassword>",
  "groundwork:slackWebhookUrl": "https://hooks.slack.com/<slackWebhookUrl>",
  "groundwork:smtpPassword": "<smtpPassword>",
  "groundwork:remoteWriteCredential": "<remoteWriteCredential>",
  "groundwork:deadMansSwitchUrl": "https://dead-mans-switch.invalid/<deadMansSwitchUrl>",
};
const secrets: Values = { ...placeholders, ...optionalSecrets };
const secretKeys = Object.entries(secrets).flatMap(([key, value]) => (typeof value === "string" ? key : []));

export interface StackSettings {
  /** Key → value as Pulumi hands it to the program; secrets are placeholders that have their form. */
  readonly config: Record<string, string>;
  /** Keys that the program is told were encrypted. */
  readonly secretKeys: readonly string[];
}

/** The committed settings of a stack, this machine's own over them; `fill` gives what neither has. */
export async function stackSettings(stack: string, fill: boolean): Promise<StackSettings> {
  const file = async (directory: string): Promise<Values> =>
    (
      (parse((await readIfPresent(join(directory, `Pulumi.${stack}.yaml`))) ?? "{}") ?? {}) as {
        config?: Values;
      }
    ).config ?? {};
  const own = merge(await file(repository), await file(projectDirectory()));
  const settings = fill ? merge(placeholders, own) : own;
  const config = Object.entries(settings).map(([key, value]): [string, string] => {
    const plain = secretKeys.includes(key) ? secrets[key] : value;
    return [key, typeof plain === "string" ? plain : JSON.stringify(plain)];
  });
  const production = settings["groundwork:environment"] === "production";
  const used = fill && production ? config.filter(([key]) => !secretKeys.includes(key)) : config;
  return { config: Object.fromEntries(used), secretKeys };
}

/** `groundwork:app.expectedUsers` of the dev stack. */
export async function expectedUsers(): Promise<number> {
  const { config } = await stackSettings("dev", false);
  const { stackSchema } = await import("../components/configSchema.ts");
  return stackSchema.shape.app.parse(JSON.parse(config["groundwork:app"] ?? "{}")).expectedUsers;
}
