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

/** Each as the worker reads its schedules (app/src/config/jobVariables.ts): numbers, in lists, ranges and steps. */
const cronFields = ["[0-5]?\\d", "[01]?\\d|2[0-3]", "0?[1-9]|[12]\\d|3[01]", "0?[1-9]|1[0-2]", "0?[0-7]"].map(
  (number) => {
    const part = `(?:\\*|(?:${number})(?:-(?:${number}))?)(?:/(?:[1-9]|[1-9]\\d|0[1-9]))?`;
    return `${part}(?:,${part})*`;
  },
);

export const cron = z
  .string()
  .regex(new RegExp(`^${cronFields.join(" ")}$`), "must be a cron expression of five fields of numbers")
  .refine(
    (value) => [...value.matchAll(/(\d+)-(\d+)/g)].every(([, from, to]) => Number(from) <= Number(to)),
    "must be a cron expression whose ranges begin with the lower number",
  );

/** Without a name and a password in it, which would be plain in the pods. */
export const webUrl = (protocol: RegExp) =>
  z.url({ protocol }).refine((url) => !/^\w+:\/\/[^/]*@/.test(url), "must carry no user name or password");

export const cidr = z.union([z.cidrv4(), z.cidrv6()], "must be a network such as 10.0.0.0/8");

export const kubernetesName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/, "must be a Kubernetes name such as my-name");
