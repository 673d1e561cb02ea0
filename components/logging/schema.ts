import { z } from "zod";

import { resources } from "../schemaParts.ts";

const days = (usual: number) => z.int().min(1).max(3_650).default(usual);
const gibibytes = (usual: number) => z.int().min(1).max(16_384).default(usual);

/** `groundwork:logging` in `Pulumi.<stack>.yaml`. */
export const loggingSchema = z
  .strictObject({
    enabled: z.boolean().default(false).describe("whether logs and traces are collected and kept"),
    retentionDays: days(30).describe("days that logs are kept"),
    storageGiB: gibibytes(4).describe("volume of the logs, GiB"),
    resources: resources(50, 256).describe("CPU and memory of Loki"),
    traces: z
      .strictObject({
        retentionDays: days(7).describe("days that traces are kept"),
        storageGiB: gibibytes(2).describe("volume of the traces, GiB"),
        resources: resources(50, 256).describe("CPU and memory of Jaeger"),
        gateways: z
          .int()
          .min(1)
          .max(5)
          .optional()
          .describe("pods that judge which traces are kept; without it 1, in production 2"),
      })
      .prefault({}),
    collectors: z
      .strictObject({ resources: resources(50, 160) })
      .prefault({})
      .describe("what reads each node's logs, and what judges traces"),
    podLogs: z
      .string()
      .regex(/^(\/(?!\.\.?(\/|$))[\w.-]+)+$/, "must be an absolute path such as /var/log/pods")
      .default("/var/log/pods")
      .describe("directory of each node in which its kubelet keeps the pods' logs"),
  })
  .prefault({});
