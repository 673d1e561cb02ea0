import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";

import type { GivenCertificates } from "./certificates.ts";
import { crossChecks, updateProblems } from "./configChecks.ts";
import { secretSchema, stackSchema, type SecretValues, type StackValues } from "./configSchema.ts";
import type { MonitoringCredentials } from "./monitoring/settings.ts";

/** The whole configuration of a stack, validated. */
export type StackConfig = StackValues & {
  /** Certificate chain and key of the edge as one PEM file; absent when the vault holds it. */
  readonly tlsBundle?: pulumi.Output<string>;
  /** Key that restore verification decrypts dumps with. */
  readonly ageIdentity?: pulumi.Output<string>;
  /** Keys that columns are encrypted with, of the stack whose data this one takes over. */
  readonly fieldKeys?: pulumi.Output<string>;
  /** Variable of the app that names a file → what is in it. */
  readonly appFiles?: Readonly<Record<string, pulumi.Output<string>>>;
  /** What a Postgres that somebody else runs is checked by. */
  readonly postgresCa?: pulumi.Output<string>;
  /** With what the database and its roles are made there. */
  readonly postgresAdminPassword?: pulumi.Output<string>;
  /** Docker's `config.json` for registries that ask who pulls. */
  readonly registryCredentials?: pulumi.Output<string>;
} & GivenCertificates &
  MonitoringCredentials;

/**
 * Reads `Pulumi.<stack>.yaml`. Every mistake is listed in one error, thrown before any resource is registered.
 * @throws {pulumi.RunError} naming each key, what it holds and what it may be.
 */
export function loadConfig(): StackConfig {
  const { values, secrets, problems: mistakes } = readConfig(pulumi.runtime.allConfig(), secretKeys());
  const problems = [...mistakes, ...(pulumi.runtime.isDryRun() || !values ? [] : updateProblems(values))];
  if (problems.length > 0 || !values) {
    const list = problems.map((problem) => `  - ${problem}`).join("\n");
    throw new pulumi.RunError(
      `Pulumi.${pulumi.getStack()}.yaml has ${problems.length} mistake(s); nothing was changed:\n${list}`,
    );
  }
  const { appFiles = {}, ...single } = secrets;
  return { ...values, ...marked(single), appFiles: marked(appFiles) };
}

function marked(secrets: object): Record<string, pulumi.Output<string>> {
  const entries = Object.entries(secrets) as [string, string][];
  return Object.fromEntries(entries.map(([key, value]) => [key, pulumi.secret(value)]));
}

/** The keys that the engine decrypted, as the language host names them; the SDK exports no call for it. */
function secretKeys(): ReadonlySet<string> {
  return new Set(z.array(z.string()).parse(JSON.parse(process.env["PULUMI_CONFIG_SECRET_KEYS"] ?? "[]")));
}

interface ReadConfig {
  readonly values?: StackValues;
  readonly secrets: SecretValues;
  readonly problems: readonly string[];
}

/** The pure part of `loadConfig`: raw strings in, typed values or a list of problems out. */
export function readConfig(
  all: Readonly<Record<string, string>>,
  secretKeysOfStack: ReadonlySet<string>,
): ReadConfig {
  const prefix = "groundwork:";
  const plain: Record<string, unknown> = {};
  const secret: Record<string, unknown> = {};
  const problems: string[] = [];
  for (const [key, value] of Object.entries(all)) {
    if (!key.startsWith(prefix)) continue;
    const name = key.slice(prefix.length);
    if (name in secretSchema.shape) {
      secret[name] = name === "appFiles" ? parseValue(value) : value;
      if (!secretKeysOfStack.has(key))
        problems.push(`${key} is stored in plain text; set it with: pulumi config set --secret ${key}`);
    } else {
      plain[name] = parseValue(value);
      if (secretKeysOfStack.has(key))
        problems.push(
          `${key} has a value that was set with --secret, and would be plain in pods and in the state; ` +
            "what is secret has a key of its own, or goes into groundwork:appFiles",
        );
    }
  }
  const values = stackSchema.safeParse(plain);
  const secrets = secretSchema.safeParse(secret);
  const sound = values.data ?? soundSections(plain);
  problems.push(
    ...issues(values.error, plain),
    ...issues(secrets.error, {}),
    ...crossChecks(sound, new Set(Object.keys(secret))),
  );
  return { ...(values.success && { values: values.data }), secrets: secrets.data ?? {}, problems };
}

/** The sections that are right in themselves, so that what contradicts between them is reported in the same error. */
function soundSections(plain: Readonly<Record<string, unknown>>): Partial<StackValues> {
  const sections = Object.entries(stackSchema.shape).flatMap(([name, schema]) => {
    const { success, data } = schema.safeParse(plain[name]);
    return success ? [[name, data] as const] : [];
  });
  return Object.fromEntries(sections);
}

/** Pulumi hands structured values over as JSON and scalars as plain text. */
function parseValue(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

function issues(error: z.ZodError | undefined, input: unknown): string[] {
  return (error?.issues ?? []).map((issue) => {
    const key = `groundwork:${issue.path.join(".")}`;
    if (issue.code === "unrecognized_keys") {
      const names = issue.keys
        .map((name) => (issue.path.length > 0 ? `${key}.${name}` : key + name))
        .join(", ");
      return `${names}: no such key`;
    }
    if (issue.code === "invalid_key") {
      return `${key}: the name ${issue.issues.map(({ message }) => message).join(", ")}`;
    }
    const found = issue.path.reduce<unknown>(
      (value, step) =>
        typeof value === "object" && value !== null
          ? (value as Record<PropertyKey, unknown>)[step]
          : undefined,
      input,
    );
    return `${key}: ${issue.message}${found === undefined ? "" : ` (found ${JSON.stringify(found)})`}`;
  });
}
