/** Pods that come and go with what there is to do: workers by KEDA on the jobs that wait, the app on its processors' load. */
import type { V1Deployment, V1HorizontalPodAutoscaler, V1Pod, V1PodList } from "@kubernetes/client-node";
import { afterAll, beforeAll, expect, test } from "vitest";
import { duringJobs } from "../chaos/jobs.ts";
import { duringUse } from "../chaos/users.ts";
import { startScalers } from "./scalers.ts";
import { applySettings, nothingToDo } from "./stackSettings.ts";
import { standInModel } from "./standInModel.ts";
import { get, kubectl, kubectlWith, waitFor } from "./support.ts";

const namespace = "cluster-tests-scaling";
const modelPort = 18_080;
/** A worker does two jobs at once, and so one a second; the clients ask for almost two. */
const modelMilliseconds = 2000;
/** Pods go when there has been too little to do for five minutes. */
const calmSeconds = 600;

const undo: (() => Promise<unknown>)[] = [];

async function deployment(name: string): Promise<V1Deployment> {
  return (await get("deployment", "--namespace=app", name)) as V1Deployment;
}

async function pods(name: string): Promise<V1Pod[]> {
  const selector = `--selector=app.kubernetes.io/name=${name}`;
  return ((await get("pods", "--namespace=app", selector)) as V1PodList).items;
}

/** Waits until so many pods are ready, none is on its way out and none has died meanwhile. */
async function settled(name: string, count: (ready: number) => boolean, seconds: number): Promise<void> {
  await waitFor(`other pods of ${name}`, seconds, async () => {
    const { status } = await deployment(name);
    const ready = status?.readyReplicas ?? 0;
    expect({ name, ready, fits: count(ready) }).toEqual({ name, ready, fits: true });
    const found = await pods(name);
    expect(found.length).toBe(ready);
    const restarts = found.flatMap(({ status: now }) =>
      (now?.containerStatuses ?? []).map(({ restartCount }) => restartCount),
    );
    expect(restarts.every((times) => times === 0)).toBe(true);
  });
}

async function startModel(image: string): Promise<string> {
  const program = standInModel("0.0.0.0", modelPort, modelMilliseconds);
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "model" },
    spec: {
      automountServiceAccountToken: false,
      terminationGracePeriodSeconds: 0,
      containers: [{ name: "model", image, command: ["node", "--eval", program] }],
    },
  };
  await kubectl("create", "namespace", namespace);
  undo.push(() => kubectl("delete", "namespace", namespace));
  await kubectlWith(JSON.stringify(pod), "create", `--namespace=${namespace}`, "--filename=-");
  await kubectl("wait", "--for=condition=Ready", `--namespace=${namespace}`, "pod/model", "--timeout=60s");
  return ((await get("pod", `--namespace=${namespace}`, "model")) as V1Pod).status?.podIP ?? "";
}

beforeAll(async () => {
  const image = (await deployment("app")).spec?.template.spec?.containers[0]?.image ?? "";
  const address = await startModel(image);
  undo.push(await startScalers(image));
  undo.push(
    await applySettings({
      plain: {
        "groundwork:workers": { scaling: "keda", maxReplicas: "3", jobsPerPod: "5" },
        "groundwork:app": {
          "scaling.maxReplicas": "3",
          poolSize: "3",
          poolOverflow: "3",
          "variables.AI_URL": `http://${address}:${modelPort}/v1`,
          "variables.GENERATE_CONCURRENCY": "2",
          "egressPorts[0]": String(modelPort),
        },
      },
      secret: { "groundwork:appFiles": JSON.stringify({ AI_KEYS_FILE: "any" }) },
    }),
  );
}, 600_000);

afterAll(async () => {
  for (const step of undo.reverse()) await step();
}, 600_000);

test("workers come while jobs wait and go when none does, and no job is lost or done twice", async () => {
  await settled("worker", (ready) => ready === 1, 60);
  const outcome = await duringJobs(async () => {
    await settled("worker", (ready) => ready >= 3, 180);
    // What the scaler decided is not taken back by the program.
    await nothingToDo();
    await settled("worker", (ready) => ready < 3, calmSeconds);
  });
  expect(outcome.acknowledged).toBeGreaterThan(100);
  expect(outcome).toMatchObject({ failed: 0, lost: 0, doubled: 0 });
}, 1_200_000);

test("pods of the app come under load and go after it, and no request fails", async () => {
  const served = await duringUse(async () => {
    await settled("app", (ready) => ready === 3, 300);
  });
  expect(served.length).toBeGreaterThan(1000);
  expect(served.filter(({ status }) => status !== 200)).toEqual([]);
  const { spec } = (await get("hpa", "--namespace=app", "app")) as V1HorizontalPodAutoscaler;
  expect(spec).toMatchObject({ minReplicas: 1, maxReplicas: 3 });
  // Not to one: idle pods keep half of their memory, by which two may stay.
  await settled("app", (ready) => ready < 3, calmSeconds);
}, 1_200_000);

test("without scalers there are as many pods again as the stack says, whatever these decided last", async () => {
  await kubectl("scale", "--namespace=app", "deploy/app", "--replicas=2");
  await settled("app", (ready) => ready === 2, 120);
  const withoutScalers = undo.pop();
  await withoutScalers?.();
  await settled("app", (ready) => ready === 1, 60);
  await settled("worker", (ready) => ready === 1, 60);
}, 600_000);
