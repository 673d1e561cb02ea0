/** What the network policies say, seen from inside the pods: who is not meant to reach somebody does not. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { V1Pod, V1PodList } from "@kubernetes/client-node";
import { flows } from "../../components/flows.ts";
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

interface Port {
  readonly workload: string;
  readonly port: number;
  /** Of a pod, as no Service and no name is in the way. */
  readonly address: string;
}

/** Every port that a pod of the stack offers; who is on its node's own network has no policy. */
async function offered(): Promise<Port[]> {
  const pods = (await stackPods()).filter(
    ({ spec, status }) => status?.phase === "Running" && spec?.hostNetwork !== true,
  );
  return pods.flatMap((pod) =>
    (pod.spec?.containers ?? [])
      .flatMap(({ ports = [] }) => ports)
      .filter(({ protocol }) => protocol !== "UDP")
      .map(({ containerPort: port }) => {
        return { workload: workloadOf(pod), port, address: `${pod.status?.podIP ?? ""}:${port}` };
      }),
  );
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

/** What `from` reaches of all that is offered, and what the list of flows lets it reach. */
async function compared(
  from: string,
  pod: readonly string[],
): Promise<Record<"found" | "allowed", string[]>> {
  const others = (await offered()).filter(({ workload }) => workload !== from);
  const answers = await reached(
    pod,
    others.map(({ address }) => address),
  );
  const named = (ports: readonly Port[]): string[] =>
    [...new Set(ports.map(({ workload, port }) => `${workload}:${port}`))].sort();
  const allows = ({ workload, port }: Port): boolean =>
    flows.some((flow) => flow.from === from && flow.to === workload && flow.port === port);
  return {
    found: named(others.filter(({ address }) => answers[address] === "open")),
    allowed: named(others.filter(allows)),
  };
}

describe("network policies", () => {
  test.each([
    ["app", ["--namespace=app", "deploy/app"]],
    ["worker", ["--namespace=app", "deploy/worker"]],
    ["azurite", ["--namespace=data", "azurite-0"]],
  ])("let %s reach whom it is listed to, and nobody else", async (from, pod) => {
    const { found, allowed } = await compared(from, pod);
    expect(found).toEqual(allowed);
    expect(found.includes("postgres:5432")).toBe(from !== "azurite");
  });

  test("let a pod of another namespace reach the edge, and nobody behind it", async () => {
    const { found, allowed } = await compared("internet", [
      `--namespace=${stranger.namespace}`,
      stranger.name,
    ]);
    expect(found).toEqual(allowed);
    expect(found).toEqual(["edge:8080", "edge:8443"]);
  });
});
