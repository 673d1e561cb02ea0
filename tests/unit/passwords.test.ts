import * as pulumi from "@pulumi/pulumi";
import { describe, expect, test } from "vitest";

import {
  databaseEnvironment,
  databaseFiles,
  redisEnvironment,
  redisFiles,
} from "../../components/appConnections.ts";
import type { BlobStore } from "../../components/blobStore.ts";
import { databaseUsers } from "../../components/databaseUsers.ts";
import { postgresSchema } from "../../components/dataSchema.ts";
import { passwordFiles, rotatedPassword } from "../../components/passwords.ts";
import { Postgres } from "../../components/postgres.ts";
import { Redis } from "../../components/redis.ts";
import { KubernetesSecretStore } from "../../components/secrets/kubernetesSecretStore.ts";
import { at, ofType, register, type Registered } from "./mocks.ts";

const made = (name: string) => ({ name });
const namespace = pulumi.output("data");
const tier = {
  namespace,
  image: "server:1",
  exporterImage: "exporters:1",
  separateNodes: false,
  members: 1,
  storageGiB: 1,
  resources: { cpuMillis: 100, memoryMiB: 512 },
  retainData: false,
};

/** What both servers and the app are given at a step of a rotation. */
async function step(passwords: readonly number[]) {
  let environment: Record<string, unknown> = {};
  let files: string[] = [];
  const resources = await register(async () => {
    const secrets = new KubernetesSecretStore("secrets");
    const certificate = { bundle: secrets.keep("tls", "chain and key"), ca: secrets.keep("ca", "authority") };
    const common = { ...tier, passwords, certificate, secrets };
    const archive: BlobStore = {
      endpoint: "https://azurite:10000/groundwork",
      container: "backups",
      immutableDays: 0,
      access: {
        kind: "connectionString",
        secret: secrets.keep("azure-connection-string", "AccountKey=hush"),
        ca: certificate.ca,
      },
    };
    const database = new Postgres("postgres", { ...common, archive, maxConnections: 100 });
    const redisQueue = new Redis("queue", { ...common, purpose: "queue" });
    const redisCache = new Redis("cache", { ...common, purpose: "cache" });
    const both = { redisQueue, redisCache };
    files = Object.keys({ ...databaseFiles(database, database.appUser), ...redisFiles(both) });
    const variables = { ...databaseEnvironment(database, database.appUser), ...redisEnvironment(both) };
    environment = await new Promise((resolve) => pulumi.output(variables).apply(resolve));
  });
  return { resources, environment, files: files.filter((name) => name.includes("password")) };
}

const mounted = (resources: readonly Registered[], name: string) =>
  Object.fromEntries(
    Object.entries(
      at(
        ofType(resources, ":Secret").find((secret) => secret.name === `${name}-secrets`),
        "stringData",
      ) as Record<string, string>,
    ).filter(([file]) => file.startsWith("app-password")),
  );

describe("a rotation", () => {
  test("begins with one password by the name that it always had", async () => {
    const { resources, environment, files } = await step([1]);
    expect(mounted(resources, "postgres")).toEqual({ "app-password": "generated-app-user-password" });
    expect(environment["DATABASE_URL"]).toBe("postgres://app_user@postgres.data.svc.cluster.local:5432/app");
    expect(files).toEqual(["database-password", "redis-cache-password", "redis-queue-password"]);
  });

  test("gives the servers a second one before any client uses it", async () => {
    const [before, { resources, environment }] = [await step([1]), await step([1, 2])];
    for (const name of ["postgres", "redis-queue", "redis-cache"]) {
      const { "app-password": old, "app-password-2": added } = mounted(resources, name);
      expect(old).toBe(mounted(before.resources, name)["app-password"]);
      expect(added).toMatch(/^generated-.*-2$/);
    }
    expect(environment).toEqual(before.environment);
  });

  test("then has the clients use it, from a file of its own, while the old one's file and validity stay", async () => {
    const [before, after] = [await step([1, 2]), await step([2, 1])];
    for (const name of ["postgres", "redis-queue", "redis-cache"])
      expect(mounted(after.resources, name)).toEqual(mounted(before.resources, name));
    expect(after.files.sort()).toEqual(before.files.sort());
    expect(after.environment).toMatchObject({
      DATABASE_URL: "postgres://app_user_2@postgres.data.svc.cluster.local:5432/app",
      DATABASE_PASSWORD_FILE: "/run/secrets/groundwork/database-password-2",
      REDIS_QUEUE_PASSWORD_FILE: "/run/secrets/groundwork/redis-queue-password-2",
      REDIS_CACHE_PASSWORD_FILE: "/run/secrets/groundwork/redis-cache-password-2",
    });
  });

  test("ends with the new one alone, and nothing of the old one is kept anywhere", async () => {
    const [before, { resources, environment }] = [await step([2, 1]), await step([2])];
    expect(mounted(resources, "postgres")).toEqual({ "app-password-2": "generated-app-user-password-2" });
    expect(environment).toEqual(before.environment);
    expect(resources.map(({ name }) => name)).not.toContain("app-user-password");
  });

  test("restarts no server: only what is mounted changes", async () => {
    const templates = async (passwords: number[]) =>
      ofType((await step(passwords)).resources, ":StatefulSet").map((set) => at(set, "spec.template"));
    expect(await templates([1, 2])).toEqual(await templates([2]));
  });
});

test("the third generation takes the first one's place", () => {
  const password = rotatedPassword(made, "p", [2, 3]);
  expect(passwordFiles("file", password)).toEqual({ "file-2": { name: "p-2" }, file: { name: "p-3" } });
});

test("every login that is rotated has a deputy", async () => {
  await register(() => {
    const users = databaseUsers(new KubernetesSecretStore("secrets"), [2]);
    expect(Object.values(users).map(({ role }) => role)).toEqual([
      "app_owner_2",
      "app_user_2",
      "app_readonly_2",
      "app_backup_2",
    ]);
  });
});

test.each([[[]], [[1, 2, 3]], [[1, 3]], [[2, 2]], [[0]]])("generations %j are refused", (passwords) => {
  expect(postgresSchema.safeParse({ passwords }).success).toBe(false);
});
