/**
 * `make load PROFILE=soak`: k6 as a Job in the cluster, for hours. Whoever began it may leave: the same command takes it up
 * again, and what it is judged by is all in the cluster. Afterwards nothing may have started anew, and memory must be flat.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { resources, restrictedContainer, restrictedPod, scratch } from "../../components/podDefaults.ts";
import { lines } from "../bench/plot.ts";
import { atMost, type Measured } from "../bench/report.ts";
import { addImages, currentCluster } from "../cluster.ts";
import { caPath } from "../identity.ts";
import { ensureTool } from "../images.ts";
import { repository } from "../stack.ts";
import { say, UserError } from "../system.ts";
import { baseUrl } from "../up.ts";
import { askOver, type Course } from "./judge.ts";
import { figuresOf } from "./loadFigures.ts";
import { targetOf, type Target } from "./target.ts";

const namespace = "load";
const inNamespace = `--namespace=${namespace}`;
/** What serves; Prometheus itself keeps more and more until its first block is written, after some three hours. */
const judgedNamespaces = ["edge", "app", "data"];
const mount = "/run/secrets/load";
/** The greatest part that memory may have grown by from the second quarter of the time to the last. */
const flat = 1.1;

interface SoakArgs {
  /** Path of the file that ensureAccounts gives. */
  readonly accounts: string;
  /** Such as 4h. */
  readonly duration: string;
  readonly users: number;
}

export async function soak(args: SoakArgs): Promise<Measured> {
  const target = await targetOf("dev");
  if ((await jobOf(target)) === undefined) await begin(target, args);
  else say("soak: goes on with the one that was begun before; its duration stays");
  say(
    `soak: runs in the cluster, also when this command is ended; the same command takes it up again; ` +
      `\`kubectl delete namespace ${namespace}\` ends it`,
  );
  const { from, to } = await ended(target);
  const summary = (await target.kubectl(["logs", inNamespace, "job.batch/soak"]))
    .split("\n")
    .findLast((line) => line.startsWith('{"'));
  if (summary === undefined)
    throw new UserError(
      `k6 did not get to its end: \`kubectl logs --namespace ${namespace} job.batch/soak\` says why. ` +
        `Before the next: \`kubectl delete namespace ${namespace}\`.`,
    );
  const measured = await judge(target, { from, to, summary });
  await target.kubectl(["delete", "namespace", namespace]);
  return measured;
}

async function begin(target: Target, { accounts, duration, users }: SoakArgs): Promise<void> {
  const image = await ensureTool("k6");
  await addImages(await currentCluster(), image);
  const edge = await target.kubectl([
    "get",
    "service",
    "edge",
    "--namespace=edge",
    "--output=jsonpath={.spec.clusterIP}",
  ]);
  const { hostname } = new URL(baseUrl);
  const environment = {
    PROFILE: "soak",
    DURATION: duration,
    USERS: String(users),
    ACCOUNTS: `${mount}/accounts.json`,
    BASE_URL: `https://${hostname}`,
    HOSTS: JSON.stringify({ [hostname]: edge }),
    SUMMARY: "stdout",
    SSL_CERT_FILE: `${mount}/ca.crt`,
    HOME: "/tmp",
  };
  const objects = manifests({
    image: image.images["k6"] ?? "",
    environment,
    script: await readFile(join(repository, "tests/load/profile.js"), "utf8"),
    secret: { "accounts.json": await readFile(accounts, "utf8"), "ca.crt": await readFile(caPath(), "utf8") },
  });
  const list = { apiVersion: "v1", kind: "List", items: objects };
  await target.kubectl(["apply", "--server-side", "--filename=-"], JSON.stringify(list));
}

interface Manifests {
  readonly image: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly script: string;
  readonly secret: Readonly<Record<string, string>>;
}

function manifests({ image, environment, script, secret }: Manifests): object[] {
  const metadata = { name: "soak", namespace };
  const temporary = scratch("tmp", "/tmp");
  const level = { "pod-security.kubernetes.io/enforce": "restricted" };
  return [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace, labels: level } },
    { apiVersion: "v1", kind: "ConfigMap", metadata, data: { "profile.js": script } },
    { apiVersion: "v1", kind: "Secret", metadata, stringData: secret },
    {
      apiVersion: "batch/v1",
      kind: "Job",
      metadata,
      spec: {
        backoffLimit: 0,
        template: {
          spec: {
            ...restrictedPod,
            restartPolicy: "Never",
            containers: [
              {
                name: "k6",
                image,
                command: ["k6", "run", "--quiet", "--no-usage-report", "/load/profile.js"],
                env: Object.entries(environment).map(([name, value]) => ({ name, value })),
                // k6 keeps every duration that it measured until its end.
                resources: { ...resources({ cpuMillis: 100, memoryMiB: 256 }), limits: { memory: "1Gi" } },
                volumeMounts: [
                  { name: "script", mountPath: "/load", readOnly: true },
                  { name: "secret", mountPath: mount, readOnly: true },
                  temporary.mount,
                ],
                ...restrictedContainer,
              },
            ],
            volumes: [
              { name: "script", configMap: { name: "soak" } },
              { name: "secret", secret: { secretName: "soak", defaultMode: 0o440 } },
              temporary.volume,
            ],
          },
        },
      },
    },
  ];
}

const jobShape = z.object({
  status: z.object({
    startTime: z.iso.datetime().optional(),
    conditions: z
      .array(z.object({ type: z.string(), status: z.string(), lastTransitionTime: z.string() }))
      .default([]),
  }),
});

async function jobOf({ kubectl }: Target): Promise<z.infer<typeof jobShape> | undefined> {
  const text = await kubectl([
    "get",
    "job.batch",
    "soak",
    inNamespace,
    "--ignore-not-found",
    "--output=json",
  ]);
  return text === "" ? undefined : jobShape.parse(JSON.parse(text));
}

/** Waits for the Job's end, as long as that takes. @returns when it began and ended, seconds since 1970. */
async function ended(target: Target): Promise<{ from: number; to: number }> {
  let told = 0;
  for (;;) {
    await sleep(2_000);
    const job = await jobOf(target);
    if (job === undefined) throw new UserError("The soak's Job is gone: somebody deleted it.");
    const { startTime, conditions } = job.status;
    if (startTime === undefined) continue;
    const from = Date.parse(startTime) / 1000;
    // A target that was missed makes the Job a failed one; its summary says which.
    const end = conditions.find(({ type, status }) => /^(Complete|Failed)$/.test(type) && status === "True");
    if (end !== undefined) return { from, to: Date.parse(end.lastTransitionTime) / 1000 };
    if (Date.now() - told < 60_000) continue;
    told = Date.now();
    const restarted = await startedSince(target, from);
    const minutes = Math.round((told / 1000 - from) / 60);
    say(`soak: ${minutes} min; ${restarted.length === 0 ? "nothing" : restarted.join(", ")} started anew`);
  }
}

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
async function startedSince({ kubectl }: Target, seconds: number): Promise<string[]> {
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

async function judge(target: Target, { from, to, summary }: Ended): Promise<Measured> {
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
