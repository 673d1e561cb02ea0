/** What a soak is judged by: that nothing started anew, and that memory is flat. */
import { z } from "zod";
import { lines } from "../bench/plot.ts";
import { atMost, type Measured } from "../bench/report.ts";
import { UserError } from "../system.ts";
import { askOver, type Course } from "./judge.ts";
import { figuresOf } from "./loadFigures.ts";
import type { Target } from "./target.ts";

/** What serves; Prometheus itself keeps more and more until its first block is written, after some three hours. */
const judgedNamespaces = ["edge", "app", "data"];
/** The greatest part that memory may have grown by from the second quarter of the time to the last. */
const flat = 1.1;

const podsShape = z.object({
  items: z.array(
    z.object({
      metadata: z.object({
        name: z.string(),
        namespace: z.string(),
        ownerReferences: z.array(z.object({ kind: z.string() })).default([]),
      }),
      status: z.object({
        containerStatuses: z
          .array(
            z.object({
              name: z.string(),
              state: z.object({ running: z.object({ startedAt: z.string() }).optional() }),
            }),
          )
          .default([]),
      }),
    }),
  ),
});

/** Containers of the stack that do not run or did not run yet at that moment, but for those of Jobs. */
export async function startedSince({ kubectl }: Target, seconds: number): Promise<string[]> {
  const ours = "--selector=app.kubernetes.io/part-of=groundwork";
  const { items } = podsShape.parse(
    JSON.parse(await kubectl(["get", "pods", "--all-namespaces", ours, "--output=json"])),
  );
  return items
    .filter(({ metadata }) => !metadata.ownerReferences.some(({ kind }) => kind === "Job"))
    .flatMap(({ metadata, status }) =>
      status.containerStatuses
        .filter(({ state: { running } }) => !running || Date.parse(running.startedAt) / 1000 > seconds)
        .map(({ name }) => `${metadata.namespace}/${metadata.name}/${name}`),
    );
}

interface Ended {
  readonly from: number;
  readonly to: number;
  /** k6's own, as JSON. */
  readonly summary: string;
}

export async function judgeSoak(target: Target, { from, to, summary }: Ended): Promise<Measured> {
  const restarted = await startedSince(target, from);
  const expression = `sum by (namespace, pod) (container_memory_working_set_bytes{namespace=~"${judgedNamespaces.join("|")}"})`;
  const courses = (await askOver(target, expression, { from, to, steps: 200 })).filter(
    // Those of Jobs are there for a while only.
    ({ points }) => points.length > 150,
  );
  const grown = growth(courses, from, to);
  const greatest = grown.toSorted((a, b) => b.ratio - a.ratio)[0];
  if (greatest === undefined)
    throw new UserError(
      "Prometheus has no figures of the pods' memory over the soak: it was away, or the soak too short.",
    );
  const hours = (to - from) / 3600;
  return {
    figures: [
      { what: "time", unit: "h", values: [hours] },
      ...figuresOf(JSON.parse(summary)),
      { what: "containers that started anew", unit: "", values: [restarted.length], target: atMost(0) },
      {
        what: `memory, last quarter ÷ second quarter, of the pod that grew most (\`${greatest.pod}\`)`,
        unit: "ratio",
        values: [greatest.ratio],
        target: atMost(flat),
      },
    ],
    notes: [
      `The users sign in, renew their tokens, list documents and write one in ten times, 2 s between two requests, by k6 in a ` +
        `Job of the cluster. Memory is the working set, by Prometheus, of every pod of ${judgedNamespaces.join(", ")}. ` +
        `Started anew: ${restarted.length === 0 ? "none" : restarted.join(", ")}. From the second quarter of the time to the last: ` +
        `${grown.map(({ pod, ratio, mebibytes }) => `\`${pod}\` ${mebibytes.toFixed(0)} MiB, ${ratio.toFixed(2)} ×`).join("; ")}.`,
    ],
    plots: [
      {
        file: "soak.svg",
        title: "Memory of the pods that serve",
        svg: lines(
          "Memory of the pods that serve",
          { x: "minutes", y: "MiB" },
          courses.map(({ labels, points }) => ({
            label: labels["pod"] ?? "",
            points: points.map(({ atSeconds, value }) => [(atSeconds - from) / 60, value / 2 ** 20] as const),
          })),
        ),
      },
    ],
  };
}

/** By how much the mean of the last quarter is above that of the second, pod by pod. */
export function growth(
  courses: readonly Course[],
  from: number,
  to: number,
): { pod: string; ratio: number; mebibytes: number }[] {
  const mean = ({ points }: Course, first: number, last: number): number => {
    const within = points.filter(({ atSeconds }) => {
      const part = (atSeconds - from) / (to - from);
      return part >= first && part <= last;
    });
    return within.reduce((sum, { value }) => sum + value, 0) / within.length;
  };
  return courses.map((course) => {
    const [before, after] = [mean(course, 0.25, 0.5), mean(course, 0.75, 1)];
    return { pod: course.labels["pod"] ?? "", ratio: after / before, mebibytes: after / 2 ** 20 };
  });
}
