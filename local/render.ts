/**
 * Writes every Kubernetes object of a stack as YAML into `.render/<stack>/`: the program runs against mocks, so no cluster
 * and no cloud is asked. Secrets and what only an `up` can know stand there as `<named placeholders>`.
 */
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { parse, stringify } from "yaml";
import { merge, projectDirectory, repository } from "./stack.ts";
import { readIfPresent } from "./system.ts";

type Values = Record<string, unknown>;

/** What a stack that was never brought up lacks; each passes the configuration's checks. */
const placeholders = {
  "groundwork:images": {
    app: "<images.app>",
    postgres: "<images.postgres>",
    exporters: "<images.exporters>",
  },
  "groundwork:backups": { ageRecipient: `age1${"q".repeat(58)}` },
  "groundwork:tlsBundle": "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----",
  "groundwork:internalCa": "-----BEGIN CERTIFICATE-----",
  "groundwork:postgresTls": "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----",
  "groundwork:redisTls": "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----",
  "groundwork:ageIdentity": `AGE-SECRET-KEY-1${"Q".repeat(58)}`,
};

/** Secrets that only some stacks have. */
const optionalSecrets = {
  "groundwork:slackWebhookUrl": "https://hooks.slack.com/<slackWebhookUrl>",
  "groundwork:smtpPassword": "<smtpPassword>",
  "groundwork:deadMansSwitchUrl": "https://dead-mans-switch.invalid/<deadMansSwitchUrl>",
};
const secrets: Values = { ...placeholders, ...optionalSecrets };
const secretKeys = Object.entries(secrets).flatMap(([key, value]) => (typeof value === "string" ? key : []));

async function main(stack: string): Promise<void> {
  const file = async (directory: string): Promise<Values> =>
    (
      (parse((await readIfPresent(join(directory, `Pulumi.${stack}.yaml`))) ?? "{}") ?? {}) as {
        config?: Values;
      }
    ).config ?? {};
  const settings = merge(merge(placeholders, await file(repository)), await file(projectDirectory()));
  const config = Object.entries(settings).map(([key, value]): [string, string] => {
    const plain = secretKeys.includes(key) ? secrets[key] : value;
    return [key, typeof plain === "string" ? plain : JSON.stringify(plain)];
  });
  const production = settings["groundwork:environment"] === "production";
  const used = production ? config.filter(([key]) => !secretKeys.includes(key)) : config;
  pulumi.runtime.setAllConfig(Object.fromEntries(used));
  process.env["PULUMI_CONFIG_SECRET_KEYS"] = JSON.stringify(secretKeys);

  const objects: Values[] = [];
  await pulumi.runtime.setMocks(
    {
      call: ({ inputs }) => inputs as Values,
      newResource: ({ type, name, inputs, custom }) => {
        if (custom && type.startsWith("kubernetes:")) objects.push(redact(inputs, name) as Values);
        return { id: `<id of ${name}>`, state: { ...(inputs as Values), ...unknownOutputs(type, name) } };
      },
    },
    "groundwork",
    stack,
  );
  // A name that the compiler does not follow: the program is CommonJS, with settings of its own.
  await import(`${repository}/index.ts`);
  await pulumi.runtime.disconnect();

  const target = join(repository, ".render", stack);
  await rm(target, { recursive: true, force: true });
  for (const object of objects) {
    const { name, namespace } = object["metadata"] as { name: string; namespace?: string };
    const directory = join(target, namespace ?? "cluster");
    await mkdir(directory, { recursive: true });
    await writeFile(
      join(directory, `${String(object["kind"]).toLowerCase()}-${name}.yaml`),
      stringify(object),
    );
  }
  process.stdout.write(`${objects.length} objects in .render/${stack}/\n`);
}

/** What Azure and the generators of passwords would answer. */
function unknownOutputs(type: string, name: string): Values {
  if (type.startsWith("random:")) return { result: `<generated ${name}>`, base64: `<generated ${name}>` };
  if (!type.startsWith("azure-native:")) return {};
  return {
    name: `<name of ${name}>`,
    clientId: `<client id of ${name}>`,
    principalId: `<principal id of ${name}>`,
  };
}

/** The inputs with every secret replaced by a name. */
function redact(value: unknown, path: string): unknown {
  if (Array.isArray(value)) return value.map((entry, index) => redact(entry, `${path}.${index}`));
  if (typeof value !== "object" || value === null) return value;
  if ((value as Values)[pulumi.runtime.specialSigKey] === pulumi.runtime.specialSecretSig) {
    const inner = (value as Values)["value"];
    const isMap = typeof inner === "object" && inner !== null;
    return isMap
      ? Object.fromEntries(Object.keys(inner).map((key) => [key, `<secret ${path}.${key}>`]))
      : `<secret ${path}>`;
  }
  return Object.fromEntries(
    Object.entries(value).map(([key, entry]) => [key, redact(entry, `${path}.${key}`)]),
  );
}

await main(process.argv[2] ?? "dev");
