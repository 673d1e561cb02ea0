/** P9: the memory that the pods ask for, by the API server, and what they use, by the kubelet. */
import { kubectl, type Cluster } from "../cluster.ts";
import { quantityBytes } from "../node/volumes.ts";
import { say, UserError } from "../system.ts";
import { bars } from "./plot.ts";
import { atMost, type Measured } from "./report.ts";
import { setTimeout as sleep } from "node:timers/promises";
import { engineAndCluster } from "./running.ts";

const samples = 5;
const pauseSeconds = 10;
const mebibyte = 2 ** 20;

interface Pod {
  readonly namespace: string;
  readonly name: string;
  /** Of its containers together, bytes. */
  readonly requested: number;
}

export async function measureFootprint(): Promise<Measured> {
  const { cluster } = await engineAndCluster();
  const pods = await podsOf(cluster);
  const monitoring = pods.filter(({ namespace }) => namespace === "monitoring");
  const [all, eyes, greatest]: [number[], number[], number[]] = [[], [], []];
  let over: string[] = [];
  for (let sample = 1; sample <= samples; sample++) {
    say(`memory in use, ${sample} of ${samples}`);
    const used = await usedBy(cluster);
    const usedOf = ({ name }: Pod): number => {
      const bytes = used.get(name);
      if (bytes === undefined)
        throw new UserError(`The kubelet has no figure of ${name}: wait until the stack is at rest.`);
      return bytes;
    };
    const of = (chosen: readonly Pod[]) => chosen.map(usedOf);
    all.push(sum(of(pods)) / mebibyte);
    eyes.push(sum(of(monitoring)) / mebibyte);
    const shares = pods.map((pod) => ({ pod, share: usedOf(pod) / pod.requested }));
    greatest.push(Math.max(...shares.map(({ share }) => share)));
    over = shares
      .filter(({ share }) => share > 1)
      .map(({ pod, share }) => `\`${pod.name}\` ${share.toFixed(2)} ×`);
    if (sample < samples) await sleep(pauseSeconds * 1000);
  }
  const [asked, askedByEyes] = [pods, monitoring].map((chosen) => [
    sum(chosen.map(({ requested }) => requested)) / mebibyte,
  ]) as [number[], number[]];
  const series = [
    { label: "dev stack, requested", values: asked },
    { label: "dev stack, in use", values: all },
    { label: "monitoring, requested", values: askedByEyes },
    { label: "monitoring, in use", values: eyes },
  ];
  return {
    figures: [
      { what: "P9: requested by the dev stack", unit: "MiB", values: asked, target: atMost(2048, "MiB") },
      { what: "in use by the dev stack", unit: "MiB", values: all },
      {
        what: "P9: requested by monitoring, of that",
        unit: "MiB",
        values: askedByEyes,
        target: atMost(512, "MiB"),
      },
      { what: "in use by monitoring", unit: "MiB", values: eyes },
      {
        what: "P9: in use ÷ requested, of the pod that has the most",
        unit: "ratio",
        values: greatest,
        target: atMost(1),
      },
    ],
    notes: [
      `Requests are those of the ${pods.length} running pods of the stack, by the API server; use is the working set ` +
        `(\`container_memory_working_set_bytes\`) of the same pods' containers, by the kubelet (\`/metrics/resource\`: cAdvisor does not know the containers of every runtime), ${samples} samples ` +
        `${pauseSeconds} s apart, without load. ${over.length === 0 ? "No pod used more than it asked for." : `More than asked for, in the last sample: ${over.join(", ")}.`}`,
    ],
    plots: [
      {
        file: "footprint.svg",
        title: "Memory of the dev stack",
        svg: bars("Memory of the dev stack", "MiB", series),
      },
    ],
  };
}

async function podsOf(cluster: Cluster): Promise<Pod[]> {
  const selector = "--selector=app.kubernetes.io/part-of=groundwork";
  const running = "--field-selector=status.phase=Running";
  const text = await kubectl(cluster, [
    "get",
    "pods",
    "--all-namespaces",
    selector,
    running,
    "--output=json",
  ]);
  const { items } = JSON.parse(text) as {
    items: {
      metadata: { namespace: string; name: string };
      spec: { containers: { resources?: { requests?: { memory?: string } } }[] };
    }[];
  };
  return items.map(({ metadata: { namespace, name }, spec: { containers } }) => ({
    namespace,
    name,
    requested: sum(containers.map(({ resources }) => quantityBytes(resources?.requests?.memory ?? "0"))),
  }));
}

/** Pod → bytes of the working sets of its containers. */
async function usedBy(cluster: Cluster): Promise<Map<string, number>> {
  const nodes = await kubectl(cluster, ["get", "nodes", "--output=jsonpath={.items[*].metadata.name}"]);
  const used = new Map<string, number>();
  for (const node of nodes.split(" ")) {
    const text = await kubectl(cluster, ["get", "--raw", `/api/v1/nodes/${node}/proxy/metrics/resource`]);
    const lines = text.matchAll(/^container_memory_working_set_bytes\{([^}]*)\} (\S+)/gm);
    for (const [, labels = "", value] of lines) {
      const label = (name: string) => new RegExp(`(?:^|,)${name}="([^"]*)"`).exec(labels)?.[1] ?? "";
      used.set(label("pod"), (used.get(label("pod")) ?? 0) + Number(value));
    }
  }
  return used;
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
