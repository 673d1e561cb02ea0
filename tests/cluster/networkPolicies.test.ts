/** What the network policies say, seen from inside the pods: who is not meant to reach somebody does not. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { V1Pod, V1PodList } from "@kubernetes/client-node";
import { get, kubectl, kubectlWith, stackPods, waitFor, workloadOf } from "./support.ts";

const stranger = { namespace: "default", name: "cluster-tests-stranger" };

/** Says for each target whether a connection was made, within two seconds each; 10.0.0.1:80 as `10.0.0.1:80`. */
const program = `
const net = require("node:net");
const tried = process.argv.slice(1).map((target) => new Promise((resolve) => {
  const [host, port] = target.split(":");
  const socket = net.connect({ host, port: Number(port), timeout: 2000 });
  const say = (answer) => { socket.destroy(); resolve([target, answer]); };
  socket.on("connect", () => say("open"));
  socket.on("timeout", () => say("closed"));
  socket.on("error", (error) => say(error.code === "ECONNREFUSED" ? "open" : "closed"));
}));
Promise.all(tried).then((answers) => console.log(JSON.stringify(Object.fromEntries(answers))));
`;

async function reached(pod: readonly string[], targets: readonly string[]): Promise<Record<string, string>> {
  const out = await kubectl("exec", ...pod, "--", "node", "--eval", program, ...targets);
  return JSON.parse(out) as Record<string, string>;
}

/** Address and port of a pod of the workload, as no Service and no name is in the way. */
async function address(workload: string, port: number): Promise<string> {
  const pod = (await stackPods()).find((one) => workloadOf(one) === workload);
  return `${pod?.status?.podIP ?? ""}:${port}`;
}

beforeAll(async () => {
  const apps = (await get("pods", "--namespace=app", "--selector=app.kubernetes.io/name=app")) as V1PodList;
  const container = apps.items[0]?.spec?.containers[0];
  const spec = {
    automountServiceAccountToken: false,
    terminationGracePeriodSeconds: 0,
    ...(apps.items[0]?.spec?.imagePullSecrets && { imagePullSecrets: apps.items[0].spec.imagePullSecrets }),
    containers: [
      {
        name: "stranger",
        image: container?.image ?? "",
        command: ["node", "--eval", "setTimeout(() => {}, 600000)"],
        ...(container?.securityContext && { securityContext: container.securityContext }),
      },
    ],
  };
  const manifest = { apiVersion: "v1", kind: "Pod", metadata: stranger, spec };
  await kubectlWith(JSON.stringify(manifest), "apply", "--filename=-");
  await waitFor("the stranger's pod", 60, async () => {
    const { status } = (await get("pod", `--namespace=${stranger.namespace}`, stranger.name)) as V1Pod;
    expect(status?.phase).toBe("Running");
  });
});

afterAll(async () => {
  await kubectl("delete", "pod", `--namespace=${stranger.namespace}`, stranger.name, "--ignore-not-found");
});

describe("network policies", () => {
  test("let the app reach its database, and nobody that it does not need", async () => {
    const [database, exporter, edge, alertmanager] = await Promise.all([
      address("postgres", 5432),
      address("postgres", 9187),
      address("edge", 8443),
      address("alertmanager", 9093),
    ]);
    expect(
      await reached(["--namespace=app", "deploy/app"], [database, exporter, edge, alertmanager]),
    ).toEqual({
      [database]: "open",
      [exporter]: "closed",
      [edge]: "closed",
      [alertmanager]: "closed",
    });
  });

  test("let a pod of another namespace reach the edge, and nobody behind it", async () => {
    const edge = await address("edge", 8443);
    const behind = await Promise.all([
      address("app", 3000),
      address("app", 9464),
      address("postgres", 5432),
      address("postgres", 8008),
      address("redis-queue", 6379),
      address("prometheus", 9090),
      address("alertmanager", 9093),
    ]);
    const pod = [`--namespace=${stranger.namespace}`, stranger.name];
    expect(await reached(pod, [edge, ...behind])).toEqual({
      [edge]: "open",
      ...Object.fromEntries(behind.map((one) => [one, "closed"])),
    });
  });
});
