import { z } from "zod";

import { containerSchema } from "./appContainer.ts";
import { azureSchema } from "./azure/schema.ts";
import { postgresSchema, redisSchema } from "./dataSchema.ts";
import { edgeSchema } from "./edgeSchema.ts";
import { imageNames } from "./images.ts";
import { keysSchema } from "./keyFile.ts";
import { loggingSchema } from "./logging/schema.ts";
import { monitoringSchema } from "./monitoring/schema.ts";
import { releaseSchema } from "./releaseTraffic.ts";
import { loadScalingSchema, queueScalingFields } from "./scaling.ts";
import { cidr, cron, kubernetesName, resources, webUrl, workerCron } from "./schemaParts.ts";
import { secretSchema, settable } from "./secretSchema.ts";
import { namespaceNames } from "./types.ts";

export { secretSchema };

const timeZone = z
  .string()
  .refine(
    (zone) => Intl.supportedValuesOf("timeZone").includes(zone) || zone === "UTC",
    "must be an IANA time zone",
  )
  .default("Asia/Tokyo")
  .describe("time zone of the schedules");

const namespaceName = z.enum(namespaceNames);
const quotaResource = z
  .string()
  .regex(/^[a-z]+(\.[a-z-]+)?$/, "must be a resource such as requests.cpu, limits.memory or pods")
  .refine(
    (name) => name !== "limits.cpu",
    "must not be limits.cpu, under which no pod is let in, as no container has a limit of CPU; take requests.cpu",
  );
const quantity = /^\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$/;
const quantityForm = "must be a quantity such as 500m, 4 or 16Gi, in quotes";

/** Numbers and truths are what they look like; `pulumi config set --path` writes them without quotes. */
const variableValue = z
  .union([z.string(), z.number(), z.boolean()], "must be a text, a number, true or false")
  .transform(String);

/** For a missing value only; whatever else is wrong has a message of its own. */
const missingKey = {
  error: ({ input }: { input?: unknown }) =>
    input === undefined
      ? "missing; set ageRecipient, the public key that backups are encrypted to. Make a pair with age-keygen and keep " +
        "the other half outside the cluster"
      : undefined,
};

/** Everything that can be set in `Pulumi.<stack>.yaml`, with its default. */
export const stackSchema = z.strictObject({
  environment: z
    .enum(["development", "production"])
    .describe("development allows what a laptop needs; production refuses it"),
  cluster: z
    .strictObject({
      context: z
        .string()
        .min(1)
        .optional()
        .describe(
          "context of the kubeconfig; the stack touches no other cluster (not for azure.cluster: create)",
        ),
      apiServerCidrs: z
        .array(cidr)
        .min(1)
        .default(["0.0.0.0/0"])
        .describe("addresses of the API server behind its Service, for network policies"),
      cilium: z
        .boolean()
        .default(false)
        .describe(
          "whether Cilium enforces network policies, as in a created cluster: Prometheus then reaches the kubelets, and Postgres and it the API server, by a CiliumNetworkPolicy",
        ),
      priorityClasses: z
        .partialRecord(namespaceName, kubernetesName)
        .default({})
        .describe("PriorityClass, which the cluster must have, of all pods of a namespace"),
      quotas: z
        .partialRecord(namespaceName, z.record(quotaResource, z.string().regex(quantity, quantityForm)))
        .default({})
        .describe(
          "what the pods of a namespace may ask for together at most, as in a ResourceQuota; rollouts, jobs and releases need " +
            "room beside what runs always",
        ),
    })
    .prefault({}),
  images: z
    .partialRecord(z.enum(imageNames), z.string().min(1))
    .default({})
    .describe("image references by name; production takes digests only"),
  build: z
    .strictObject({
      repository: z
        .string()
        .regex(
          /^[a-z0-9.-]+(:\d+)?(\/[a-z0-9._-]+)+$/,
          "must be a registry and a path in it, such as example.azurecr.io/groundwork",
        )
        .describe("where the images are pushed, by whoever Docker is logged in as"),
      platform: z
        .string()
        .regex(/^linux\/(amd64|arm64)$/, "must be linux/amd64 or linux/arm64")
        .default("linux/amd64")
        .describe("what the nodes are"),
    })
    .optional()
    .describe("builds the images of this repository that images does not name, by Docker, at each `up`"),
  registry: z
    .string()
    .regex(
      /^[a-z0-9.-]+(:\d+)?(\/[a-z0-9._-]+)*$/,
      "must be a registry such as mirror.example.com/groundwork",
    )
    .optional()
    .describe("mirror that upstream's images are pulled from, in place of their own registries"),
  pullSecrets: z
    .array(z.string().regex(/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/, "must be the name of a Secret"))
    .default([])
    .describe("Secrets for pulling images that something else puts into every namespace of the stack"),
  app: z
    .strictObject({
      replicas: z.int().min(1).max(100).default(1).describe("pods of the app"),
      resources: resources(100, 256),
      logLevel: z
        .enum(["debug", "info", "warn", "error"])
        .default("info")
        .describe("least severe level that is logged"),
      poolSize: z.int().min(1).max(200).default(10).describe("database connections each pod keeps open"),
      poolOverflow: z.int().min(0).max(200).default(20).describe("connections a pod may open beyond that"),
      variables: z
        .record(settable, variableValue)
        .prefault({})
        .describe("more variables of the app and its workers, see docs/environment.md"),
      egressPorts: z
        .array(z.int().min(1).max(65_535))
        .default([])
        .describe(
          "TCP ports outside the cluster that these variables make the app reach, such as 443 or 636",
        ),
      expectedUsers: z
        .int()
        .min(1)
        .max(10_000)
        .default(20)
        .describe(
          "users at once that the service is made for: `make load` brings so many, and ten times as many",
        ),
      keys: keysSchema,
      migrationSeconds: z
        .int()
        .min(30)
        .max(86_400)
        .default(180)
        .describe(
          "how long the migration of an `up` may take, seconds; then it is stopped. One that changes a table waits until a dump that " +
            "reads it has ended",
        ),
      container: containerSchema.describe("how images.app is run, for another container in the app's place"),
      release: releaseSchema,
      scaling: loadScalingSchema.optional().describe("more pods under load; without it always `replicas`"),
    })
    .prefault({}),
  workers: z
    .strictObject({
      replicas: z.int().min(0).max(100).default(1).describe("pods that do jobs; 0: an app without jobs"),
      ...queueScalingFields,
      resources: resources(100, 192),
      feeds: z
        .record(z.string().min(1), z.array(webUrl(/^https$/).max(1000)).max(200))
        .default({})
        .describe("feeds to collect, by the tenant's name; https only, the network lets nothing else out"),
      schedules: z
        .strictObject({
          collection: workerCron.default("*/15 * * * *").describe("when feeds are collected"),
          summaries: workerCron
            .default("*/5 * * * *")
            .describe("when items without a summary are looked for"),
          cleanUp: workerCron.default("30 2 * * *").describe("when rows past their age are deleted"),
        })
        .prefault({}),
      timeZone,
    })
    .prefault({}),
  postgres: postgresSchema,
  redis: redisSchema,
  edge: edgeSchema,
  monitoring: monitoringSchema,
  logging: loggingSchema,
  backups: z.strictObject(
    {
      hourly: cron.default("7 * * * *").describe("when the hourly dump is made"),
      daily: cron.default("0 3 * * *").describe("when the daily dump is made"),
      weekly: cron.default("0 4 * * 0").describe("when the weekly dump is made"),
      base: cron.default("40 2 * * *").describe("when the server's files are copied as a base backup"),
      recovery: cron
        .default("45 5 * * *")
        .describe("when the newest base backup is recovered with the log since"),
      verification: cron
        .default("30 5 * * *")
        .describe("when the newest daily or weekly dump is restored and compared"),
      retention: cron.default("15 6 * * *").describe("when old backups are deleted"),
      retentionDays: z
        .int()
        .min(1)
        .max(3_650)
        .default(30)
        .describe("days that a backup is kept; the newest verified one stays"),
      timeZone,
      ageRecipient: z
        .string(missingKey)
        .regex(/^age1[0-9a-z]{58}$/, "must be an age recipient (age1…)")
        .describe("public key that dumps are encrypted to"),
      scratchMiB: z
        .int()
        .min(64)
        .max(1_048_576)
        .default(512)
        .describe(
          "room for a dump and its restored copy, MiB; from 4096 on a volume of the cluster's default StorageClass for each run",
        ),
      resources: resources(100, 128).describe("CPU and memory of a dump, and of a base backup"),
      verificationResources: resources(100, 384).describe(
        "CPU and memory of a verification, and of a restore",
      ),
    },
    missingKey,
  ),
  secrets: z
    .strictObject({
      store: z.enum(["kubernetes", "keyVault"]).default("kubernetes").describe("where secrets are kept"),
    })
    .prefault({}),
  azure: azureSchema
    .optional()
    .describe("Azure settings; needed for secrets.store: keyVault and for kind: managed"),
});

export type StackValues = z.output<typeof stackSchema>;
export type SecretValues = z.output<typeof secretSchema>;
