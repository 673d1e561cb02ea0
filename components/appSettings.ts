import type * as pulumi from "@pulumi/pulumi";

import type { Flow } from "./networkPolicies.ts";
import { secretsPath } from "./podDefaults.ts";
import type { SecretStore, StoredSecret } from "./secrets/secretStore.ts";

/** What a stack's owner sets of the app beyond what the stack itself does (`docs/environment.md`). */
export interface AppSettings {
  /** Variable → value. */
  readonly variables: Readonly<Record<string, string>>;
  /** Variable that names a file → the secret that the file holds. */
  readonly files: Readonly<Record<string, StoredSecret>>;
}

/** Variables that the stack sets itself, from what it knows. */
export const reservedVariables = [
  "ENVIRONMENT",
  "LOG_LEVEL",
  "PORT",
  "METRICS_PORT",
  "TLS_FILE",
  "REQUIRE_CREDENTIALS",
  "SHUTDOWN_DELAY_SECONDS",
  "DATABASE_URL",
  "DATABASE_PASSWORD_FILE",
  "DATABASE_CA_FILE",
  "DATABASE_POOL_SIZE",
  "DATABASE_POOL_OVERFLOW",
  "REDIS_CACHE_URL",
  "REDIS_CACHE_PASSWORD_FILE",
  "REDIS_CACHE_CA_FILE",
  "REDIS_QUEUE_URL",
  "REDIS_QUEUE_SENTINELS",
  "REDIS_QUEUE_PASSWORD_FILE",
  "REDIS_QUEUE_CA_FILE",
  "JWT_KEYS_FILE",
  "FIELD_KEYS_FILE",
  "FEEDS_FILE",
  "COLLECTION_SCHEDULE",
  "SUMMARIES_SCHEDULE",
  "CLEAN_UP_SCHEDULE",
  "SCHEDULE_TIME_ZONE",
  "WORKER_GRACE_SECONDS",
  "FALLBACK_SIGN_IN_FILE",
  "NOTICE_FILE",
  "AI_MODE_FILE",
  "PROBE_PASSWORD_FILE",
] as const;

/** The settings of the app, with the contents of their files kept in the store. */
export function keepSettings(
  secrets: SecretStore,
  variables: Readonly<Record<string, string>>,
  files: Readonly<Record<string, pulumi.Output<string>>> = {},
): AppSettings {
  const kept = Object.entries(files).map(
    ([variable, content]) => [variable, secrets.keep(`app-${fileOf(variable)}`, content)] as const,
  );
  return { variables, files: Object.fromEntries(kept) };
}

/** The variables of a pod of the app's image that has these settings. */
export function settingsEnvironment({ variables, files }: AppSettings): Record<string, string> {
  const paths = Object.keys(files).map(
    (variable) => [variable, `${secretsPath}/${fileOf(variable)}`] as const,
  );
  return { ...variables, ...Object.fromEntries(paths) };
}

/** The files that these variables name. */
export function settingsFiles({ files }: AppSettings): Record<string, StoredSecret> {
  return Object.fromEntries(Object.entries(files).map(([variable, secret]) => [fileOf(variable), secret]));
}

/** What the settings make the app talk to outside the cluster; the workers reach port 443 in any case. */
export function settingsFlows(ports: readonly number[]): Flow<"app" | "worker">[] {
  return ports.flatMap((port) =>
    (port === 443 ? (["app"] as const) : (["app", "worker"] as const)).map(
      (from) => ({ from, to: "internet", port }) as const,
    ),
  );
}

/** `AI_KEYS_FILE` → `ai-keys-file`. */
function fileOf(variable: string): string {
  return variable.toLowerCase().replaceAll("_", "-");
}
