import { z } from "zod";

import { passwordGenerations } from "./passwords.ts";
import { resources } from "./schemaParts.ts";

const kinds = "cluster: servers of our own; managed: Azure's service, which azure is needed for";
const kind = z.enum(["cluster", "managed"]).default("cluster").describe(kinds);
const members = z.union([z.literal(1), z.literal(3), z.literal(5)], "must be 1, 3 or 5").default(1);

/** `groundwork:postgres`. */
export const postgresSchema = z
  .strictObject({
    kind: z
      .enum(["cluster", "managed", "existing"])
      .default("cluster")
      .describe(`${kinds}; existing: a server that somebody else runs`),
    existing: z
      .strictObject({
        host: z.hostname().describe("name of the server, which its certificate must bear"),
        port: z.int().min(1).max(65_535).default(5432).describe("port of the server"),
        admin: z
          .string()
          .regex(/^[a-z_][a-z0-9_]{0,62}$/, "must be the name of a role")
          .describe("role that makes the database and its roles; needs groundwork:postgresAdminPassword"),
      })
      .optional()
      .describe("with kind: existing"),
    managed: z
      .strictObject({
        sku: z
          .string()
          .regex(
            /^Standard_[DE]\d+(ad|d)s_v\d$/,
            "must be a size such as Standard_D2ds_v5 or Standard_E4ds_v5",
          )
          .default("Standard_D2ds_v5")
          .describe("compute; burstable sizes have no standby"),
        retentionDays: z
          .int()
          .min(7)
          .max(35)
          .default(30)
          .describe("days that a point in time can be restored from"),
        geoRedundantBackup: z
          .boolean()
          .default(false)
          .describe("keep backups in the paired region, too; only when the server is made"),
        highAvailability: z
          .enum(["zoneRedundant", "sameZone"])
          .default("zoneRedundant")
          .describe("where the standby runs; sameZone for regions without zones"),
      })
      .prefault({})
      .describe("with kind: managed"),
    members: members.describe("Patroni members"),
    storageGiB: z
      .int()
      .min(1)
      .max(16_384)
      .default(2)
      .describe("volume of each member, GiB; may grow, not shrink"),
    resources: resources(250, 384),
    passwords: passwordGenerations,
    maxConnections: z.int().min(20).max(5_000).default(100).describe("connections the server accepts"),
  })
  .prefault({});

const cacheSkus = ["Balanced_B0", "Balanced_B1"] as const;
/** Up to 24 GB: beyond, Azure Managed Redis is clustered, which the queue's scripts do not bear. */
const queueSkus = [
  "Balanced_B3",
  "Balanced_B5",
  "Balanced_B10",
  "Balanced_B20",
  "MemoryOptimized_M10",
  "MemoryOptimized_M20",
] as const;

/** `groundwork:redis`. */
export const redisSchema = z
  .strictObject({
    kind,
    managed: z
      .strictObject({
        queueSku: z.enum(queueSkus).default("Balanced_B3").describe("size of the queue"),
        cacheSku: z
          .enum([...cacheSkus, ...queueSkus])
          .default("Balanced_B1")
          .describe("size of the cache"),
      })
      .prefault({})
      .describe("with kind: managed"),
    queue: z
      .strictObject({
        members: members.describe("servers; from three on, Sentinel moves the primary"),
        storageGiB: z
          .int()
          .min(1)
          .max(1_024)
          .default(1)
          .describe("volume of each member's append-only file, GiB; may grow, not shrink"),
        resources: resources(50, 96),
      })
      .prefault({}),
    cache: z.strictObject({ resources: resources(50, 96) }).prefault({}),
    passwords: passwordGenerations,
  })
  .prefault({});

export type PostgresValues = z.output<typeof postgresSchema>;
export type RedisValues = z.output<typeof redisSchema>;
