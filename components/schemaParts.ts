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

/** A schedule: numbers, in lists, ranges and steps; Sunday is 0 and, where `lastDay` is 7, that as well. */
function cronUpTo(lastDay: 6 | 7) {
  const days = ["0?[1-9]|[12]\\d|3[01]", "0?[1-9]|1[0-2]", `0?[0-${lastDay}]`];
  const fields = ["[0-5]?\\d", "[01]?\\d|2[0-3]", ...days].map((number) => {
    const part = `(?:\\*|(?:${number})(?:-(?:${number}))?)(?:/(?:[1-9]|[1-9]\\d|0[1-9]))?`;
    return `${part}(?:,${part})*`;
  });
  return z
    .string()
    .regex(
      new RegExp(`^${fields.join(" ")}$`),
      `must be a cron expression of five fields of numbers, the last from 0 to ${lastDay}`,
    )
    .refine(
      (value) => [...value.matchAll(/(\d+)-(\d+)/g)].every(([, from, to]) => Number(from) <= Number(to)),
      "must be a cron expression whose ranges begin with the lower number",
    );
}

/** As the worker reads its schedules (app/src/config/jobVariables.ts). */
export const workerCron = cronUpTo(7);
/** As a CronJob's, to which Sunday is 0 alone. */
export const cron = cronUpTo(6);

/** Without a name and a password in it, which would be plain in the pods. */
export const webUrl = (protocol: RegExp) =>
  z.url({ protocol }).refine((url) => !/^\w+:\/\/[^/]*@/.test(url), "must carry no user name or password");

export const cidr = z.union([z.cidrv4(), z.cidrv6()], "must be a network such as 10.0.0.0/8");

export const kubernetesName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/, "must be a Kubernetes name such as my-name");
