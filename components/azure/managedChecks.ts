import type { PostgresValues, RedisValues } from "../dataSchema.ts";
import type { AzureValues } from "./schema.ts";

/** Sizes, GiB, that Azure offers for the storage of a flexible server. */
const storageSizes = [32, 64, 128, 256, 512, 1_024, 2_048, 4_096, 8_192, 16_384];

/** Connections that Azure keeps for itself. */
const reservedByAzure = 15;

interface DataSettings {
  readonly azure?: AzureValues | undefined;
  readonly postgres?: PostgresValues | undefined;
  readonly redis?: RedisValues | undefined;
}

/** What managed services need, or would refuse; each names its key and what it may be. */
export function managedProblems({ azure, postgres, redis }: DataSettings): string[] {
  const managed = Object.entries({ postgres, redis }).flatMap(([key, value]) =>
    value?.kind === "managed" ? [`groundwork:${key}.kind`] : [],
  );
  return [
    ...(azure ? [] : managed.map((key) => `${key}: managed needs groundwork:azure`)),
    ...(postgres?.kind === "managed" ? serverProblems(postgres) : []),
  ];
}

function serverProblems({ storageGiB, maxConnections, managed: { sku } }: PostgresValues): string[] {
  const accepted = acceptedConnections(sku);
  return [
    ...(storageSizes.includes(storageGiB)
      ? []
      : [
          `groundwork:postgres.storageGiB: a managed server has ${storageSizes.join(", ")} (found ${storageGiB})`,
        ]),
    ...(maxConnections <= accepted
      ? []
      : [
          `groundwork:postgres.maxConnections: ${sku} accepts ${accepted} (found ${maxConnections}); take a larger ` +
            "groundwork:postgres.managed.sku",
        ]),
  ];
}

/** Connections that a size accepts from us: Azure counts them by memory, 4 GiB per core of series D and 8 of E. */
export function acceptedConnections(sku: string): number {
  const [, series = "D", cores = "2"] = /^Standard_([DE])(\d+)/.exec(sku) ?? [];
  const memoryGiB = Number(cores) * (series === "E" ? 8 : 4);
  return Math.min(5_000, Math.floor(memoryGiB * 107.375)) - reservedByAzure;
}
