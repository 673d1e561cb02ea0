import type * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import type { AppSettings } from "./appSettings.ts";
import type { ServerCertificate } from "./certificates.ts";
import { secretsPath } from "./podDefaults.ts";
import { passwordFiles, type Password } from "./passwords.ts";
import type { DatabaseUser } from "./databaseUsers.ts";
import type { SecretStore, StoredSecret } from "./secrets/secretStore.ts";
import type { Endpoint, Resources } from "./types.ts";

/** The database as the app and its migrations see it. */
export interface DatabaseBinding {
  readonly endpoint: Endpoint;
  readonly database: string;
  /** The app itself signs in as this role. */
  readonly appUser: DatabaseUser;
  /** Migrations sign in as this role. */
  readonly owner: DatabaseUser;
  /** Authority that its certificate must be signed by. */
  readonly ca: StoredSecret;
}

/** A Redis instance as the app sees it. */
export interface RedisBinding {
  readonly endpoint: Endpoint;
  /** Where the Sentinels answer that name the primary; empty: there is one server, at `endpoint`. */
  readonly sentinels: readonly Endpoint[];
  /** ACL user. */
  readonly user: string;
  readonly password: Password;
  /** Authority that its certificate must be signed by. */
  readonly ca: StoredSecret;
}

/** Both Redis. */
export interface RedisBindings {
  readonly redisCache: RedisBinding;
  readonly redisQueue: RedisBinding;
}

/** What every process of the app's image is given. */
export interface AppBindings extends RedisBindings {
  readonly database: DatabaseBinding;
  /** Mounts the passwords. */
  readonly secrets: SecretStore;
  /** Keys that sensitive columns are encrypted with: `{"active": kid, "keys": {kid: base64}}`, 32 bytes each. */
  readonly fieldKeys: StoredSecret;
  /** What the stack's owner sets. */
  readonly settings: AppSettings;
  /** `ENVIRONMENT` of the app. */
  readonly environment: "development" | "production";
  /** Least severe level that is logged. */
  readonly logLevel: string;
  /** Where spans are sent (OTLP over HTTP); absent: none are recorded. */
  readonly tracesUrl?: pulumi.Input<string> | undefined;
}

export type Variables = Record<string, pulumi.Input<string>>;

type Files = Record<string, StoredSecret>;

export function environment(variables: Variables): k8s.types.input.core.v1.EnvVar[] {
  return Object.entries(variables).map(([key, value]) => ({ name: key, value }));
}

export function commonEnvironment(args: Pick<AppBindings, "environment" | "logLevel">): Variables {
  return { ENVIRONMENT: args.environment, LOG_LEVEL: args.logLevel };
}

/** Of a container's memory, what V8 may keep objects in: the rest is for all else of Node, and for commands that are run beside it. */
const heapShare = 3 / 8;

/** A container's command; of one that is Node's, V8 by itself would grow beyond a small container's limit, which ends the process. */
export function boundedCommand(
  [program = "", ...args]: readonly string[],
  { memoryMiB }: Resources,
): string[] {
  const bound = program === "node" ? [`--max-old-space-size=${Math.floor(memoryMiB * heapShare)}`] : [];
  return [program, ...bound, ...args];
}

/** Every trace is recorded: which ones are kept is decided once they are over, by who receives them. */
export function tracesEnvironment({ tracesUrl }: Pick<AppBindings, "tracesUrl">): Variables {
  return tracesUrl === undefined ? {} : { OTLP_TRACES_URL: tracesUrl, TRACE_SAMPLE_RATIO: "1" };
}

/** The variables of the app's image by which a pod reaches the database as `user`. */
export function databaseEnvironment({ endpoint, database }: DatabaseBinding, user: DatabaseUser): Variables {
  const { host, port } = endpoint;
  return {
    DATABASE_URL: pulumi.interpolate`postgres://${user.role}@${host}:${port}/${database}`,
    DATABASE_PASSWORD_FILE: passwordPath("database-password", user.password),
    DATABASE_CA_FILE: `${secretsPath}/database-ca.crt`,
  };
}

/** The secrets that these variables name. */
export function databaseFiles({ ca }: DatabaseBinding, user: DatabaseUser): Files {
  return { ...passwordFiles("database-password", user.password), "database-ca.crt": ca };
}

/** The variables by which a pod reaches both Redis. */
export function redisEnvironment({ redisCache, redisQueue }: RedisBindings): Variables {
  return {
    REDIS_CACHE_URL: redisUrl(redisCache),
    REDIS_CACHE_PASSWORD_FILE: passwordPath("redis-cache-password", redisCache.password),
    REDIS_CACHE_CA_FILE: `${secretsPath}/redis-cache-ca.crt`,
    REDIS_QUEUE_URL: redisUrl(redisQueue),
    ...(redisQueue.sentinels.length > 0 && {
      REDIS_QUEUE_SENTINELS: pulumi
        .all(redisQueue.sentinels.map(({ host, port }) => pulumi.interpolate`${host}:${port}`))
        .apply((addresses) => addresses.join(",")),
    }),
    REDIS_QUEUE_PASSWORD_FILE: passwordPath("redis-queue-password", redisQueue.password),
    REDIS_QUEUE_CA_FILE: `${secretsPath}/redis-queue-ca.crt`,
  };
}

/** The secrets that these variables name. */
export function redisFiles({ redisCache, redisQueue }: RedisBindings): Files {
  return {
    ...passwordFiles("redis-cache-password", redisCache.password),
    "redis-cache-ca.crt": redisCache.ca,
    ...passwordFiles("redis-queue-password", redisQueue.password),
    "redis-queue-ca.crt": redisQueue.ca,
  };
}

/**
 * What only the API's pods are given: the certificate that they serve, the authority by which a process in the pod checks it, and
 * the password of the user that the prober signs in as.
 */
export function apiSecrets(
  served: boolean,
  { bundle, ca }: ServerCertificate,
  probePassword?: StoredSecret,
): { readonly environment: Variables; readonly files: Files } {
  return {
    environment: {
      ...(served && { TLS_FILE: `${secretsPath}/tls.pem` }),
      ...(probePassword && { PROBE_PASSWORD_FILE: `${secretsPath}/probe-password` }),
    },
    files: {
      ...(served && { "tls.pem": bundle, "tls-ca.crt": ca }),
      ...(probePassword && { "probe-password": probePassword }),
    },
  };
}

function passwordPath(file: string, { suffix = "" }: Password): string {
  return `${secretsPath}/${file}${suffix}`;
}

function redisUrl({ endpoint: { host, port }, user }: RedisBinding): pulumi.Output<string> {
  return pulumi.interpolate`rediss://${user}@${host}:${port}`;
}
