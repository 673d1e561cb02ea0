/**
 * `make load PROFILE=soak`: k6 as a Job in the cluster, for hours. Whoever began it may leave: the same command takes it up
 * again, and what it is judged by is all in the cluster. Afterwards nothing may have started anew, and memory must be flat.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { resources, restrictedContainer, restrictedPod, scratch } from "../../components/podDefaults.ts";
import type { Measured } from "../bench/report.ts";
import { addImages, currentCluster } from "../cluster.ts";
import { edgeUrl } from "../devSettings.ts";
import { caPath } from "../identity.ts";
import { ensureTool } from "../images.ts";
import { repository } from "../stack.ts";
import { say, UserError } from "../system.ts";
import { judgeSoak, startedSince } from "./soakVerdict.ts";
import { targetOf, type Target } from "./target.ts";

const namespace = "load";
const inNamespace = `--namespace=${namespace}`;
const mount = "/run/secrets/load";

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
  const measured = await judgeSoak(target, { from, to, summary });
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
  const { hostname } = new URL(await edgeUrl());
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
