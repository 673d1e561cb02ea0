/** A stack's settings as the program will read them, without the engine that decrypts its secrets. */
import { join } from "node:path";
import { parse } from "yaml";
import { isEncrypted, merge, projectDirectory, repository } from "./stack.ts";
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
};

const bundle = "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----";
/** In the place of every secret, set or missing: of its form, and nobody's. */
const secrets: Readonly<Record<string, string>> = {
  "groundwork:tlsBundle": bundle,
  "groundwork:internalCa": "-----BEGIN CERTIFICATE-----",
  "groundwork:postgresTls": bundle,
  "groundwork:redisTls": bundle,
  "groundwork:appTls": bundle,
  "groundwork:azuriteTls": bundle,
  "groundwork:ageIdentity": `AGE-SECRET-KEY-1${"Q".repeat(58)}`,
  "groundwork:fieldKeys": JSON.stringify({ active: "1", keys: { 1: `${"A".repeat(43)}=` } }),
  "groundwork:registryCredentials": '{"auths":{}}',
  "groundwork:postgresCa": "-----BEGIN CERTIFICATE-----",
  "groundwork:postgresAdminPassword": "<postgresAdminPassword>",
  "groundwork:slackWebhookUrl": "https://hooks.slack.com/<slackWebhookUrl>",
  "groundwork:smtpPassword": "<smtpPassword>",
  "groundwork:remoteWriteCredential": "<remoteWriteCredential>",
  "groundwork:deadMansSwitchUrl": "https://dead-mans-switch.invalid/<deadMansSwitchUrl>",
};
const secretKeys = [...Object.keys(secrets), "groundwork:appFiles"];

export interface StackSettings {
  /** Key → value as Pulumi hands it to the program; secrets are placeholders that have their form. */
  readonly config: Record<string, string>;
  /** Keys that the program is told were encrypted. */
  readonly secretKeys: readonly string[];
}

/** The committed settings of a stack, over those of dev this machine's own; `fill` gives what neither has. */
export async function stackSettings(stack: string, fill: boolean): Promise<StackSettings> {
  const file = async (directory: string): Promise<Values> =>
    (
      (parse((await readIfPresent(join(directory, `Pulumi.${stack}.yaml`))) ?? "{}") ?? {}) as {
        config?: Values;
      }
    ).config ?? {};
  const committed = await file(repository);
  const own = stack === "dev" ? merge(committed, await file(projectDirectory())) : committed;
  const config = asProgramSees(fill ? merge(placeholders, own) : own);
  return { config: fill ? { ...(await missingSecrets(config)), ...config } : config, secretKeys };
}

/** Settings of a stack file as Pulumi hands them to the program, with placeholders in the place of secrets. */
export function asProgramSees(settings: Values): Record<string, string> {
  const entries = Object.entries(settings).map(([key, value]): [string, string] => [
    key,
    secrets[key] ?? (typeof value === "string" ? value : JSON.stringify(value, withoutCiphertext)),
  ]);
  return Object.fromEntries(entries);
}

/** A value of `appFiles` is encrypted by itself. */
function withoutCiphertext(_: string, value: unknown): unknown {
  return isEncrypted(value) ? "<secret>" : value;
}

/** A placeholder of each secret that the stack's committed file has, or lacks: enough for a preview against an empty state. */
export async function secretPlaceholders(stack: string): Promise<Record<string, string>> {
  const { config } = await stackSettings(stack, true);
  return Object.fromEntries(Object.entries(config).filter(([key]) => secretKeys.includes(key)));
}

/** Placeholders of the secrets that the configuration must give; none where another mistake hides which those are. */
export async function missingSecrets(config: Record<string, string>): Promise<Record<string, string>> {
  // Loaded here, as it brings the whole SDK along, which most commands have no use for.
  const [{ readConfig }, { neededSecrets }] = await Promise.all([
    import("../components/config.ts"),
    import("../components/neededSecrets.ts"),
  ]);
  const { values } = readConfig(config, new Set(secretKeys));
  const needed = values ? neededSecrets(values) : [];
  return Object.fromEntries(needed.map((key) => [`groundwork:${key}`, secrets[`groundwork:${key}`] ?? ""]));
}

/** `groundwork:app.expectedUsers` of the dev stack. */
export async function expectedUsers(): Promise<number> {
  const { config } = await stackSettings("dev", false);
  const { stackSchema } = await import("../components/configSchema.ts");
  return stackSchema.shape.app.parse(JSON.parse(config["groundwork:app"] ?? "{}")).expectedUsers;
}
