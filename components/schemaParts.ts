import { z } from "zod";

/** CPU and memory of a container, with its own defaults. */
export const resources = (cpuMillis: number, memoryMiB: number) =>
  z
    .strictObject({
      cpuMillis: z
        .int()
        .min(10)
        .max(64_000)
        .default(cpuMillis)
        .describe("CPU request, thousandths of a core"),
      memoryMiB: z.int().min(16).max(262_144).default(memoryMiB).describe("memory request and limit, MiB"),
    })
    .prefault({});

export const cidr = z.union([z.cidrv4(), z.cidrv6()], "must be a network such as 10.0.0.0/8");

export const kubernetesName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/, "must be a Kubernetes name such as my-name");
