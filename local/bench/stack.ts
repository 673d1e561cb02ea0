/** P1 and P4: the dev stack from nothing, by Pulumi, by kubectl from the very same manifests, and by `make up`. */
import { setTimeout as sleep } from "node:timers/promises";
import { kubectlProgram, type Cluster } from "../cluster.ts";
import { withLock } from "../lock.ts";
import { pulumiOutput, repository, type Engine } from "../stack.ts";
import { readStatus } from "../status.ts";
import { projectDirectory } from "../stack.ts";
import { run, say, UserError } from "../system.ts";
import { bars } from "./plot.ts";
import { atMost, type Measured } from "./report.ts";
import { engineAndCluster, timed } from "./running.ts";
import { upOfDev, withEmptyProgram } from "./unchanged.ts";

/** Each takes minutes. */
const runs = 3;
const readyWithinSeconds = 600;

interface Manifest {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
}

export async function measureStack(): Promise<Measured> {
  const { engine, cluster } = await engineAndCluster();
  if (cluster.kind === "existing")
    throw new UserError(`This destroys the dev stack; not on ${cluster.context}, which was there before.`);
  const [ours, empty, byKubectl, makeUp]: number[][] = [[], [], [], []];
  for (let number = 1; number <= runs; number++) {
    say(`the stack from nothing, ${number} of ${runs}: by Pulumi`);
    await withLock("stack", async () => {
      await destroy(engine);
      ours?.push(await timed(() => upOfDev(engine, [])));
      await withEmptyProgram(engine, async (up) => empty?.push(await timed(up)));
      const manifests = await manifestsOf(engine);
      await destroy(engine);
      say(`the stack from nothing, ${number} of ${runs}: by kubectl`);
      try {
        byKubectl?.push(await timed(() => apply(cluster, manifests)));
      } finally {
        await remove(cluster, manifests);
      }
    });
    say(`the stack from nothing, ${number} of ${runs}: by make up`);
    makeUp?.push(await timed(() => run("make", ["up"], { cwd: repository })));
  }
  return resultOf(ours ?? [], empty ?? [], byKubectl ?? [], makeUp ?? []);
}

function resultOf(ours: number[], empty: number[], byKubectl: number[], makeUp: number[]): Measured {
  const limits = byKubectl.map((seconds, index) => seconds + (empty[index] ?? Number.NaN));
  const series = [
    { label: "pulumi up", values: ours },
    { label: "kubectl + empty program", values: limits },
    { label: "make up", values: makeUp },
  ];
  return {
    figures: [
      { what: "`pulumi up` of the dev stack", unit: "s", values: ours },
      { what: "`kubectl apply --server-side` until all is ready", unit: "s", values: byKubectl },
      { what: "`pulumi up` of an empty program", unit: "s", values: empty },
      {
        what: "P1: `pulumi up` ÷ (kubectl + empty program)",
        unit: "ratio",
        values: ours.map((seconds, index) => seconds / (limits[index] ?? Number.NaN)),
        target: atMost(1.1),
      },
      { what: "P4: `make up`, tools and images there", unit: "s", values: makeUp, target: atMost(120, "s") },
    ],
    notes: [
      "Three runs, as each takes minutes: the stack is destroyed and brought up by `pulumi up`, destroyed, applied by kubectl, " +
        "deleted by kubectl, and brought up by `make up`. What kubectl applies are the inputs of the stack's own state, secrets " +
        "included: namespaces first, then all else in one call, until every Deployment, StatefulSet and DaemonSet is ready and " +
        "every Job is done. kubectl waits for nothing in between, so pods that need others start over until these are there.",
    ],
    plots: [
      {
        file: "stack.svg",
        title: "The stack from nothing",
        svg: bars("The stack from nothing", "s", series),
      },
    ],
  };
}

async function destroy(engine: Engine): Promise<void> {
  const command = ["destroy", "--yes", "--skip-preview", "--non-interactive", "--stack", "dev"];
  await run(engine.pulumi, command, { cwd: projectDirectory(), env: engine.env });
}

/** What the engine sent to the API server, in the order in which it did; secrets in the clear, in memory only. */
async function manifestsOf(engine: Engine): Promise<Manifest[]> {
  const text = await pulumiOutput(engine, ["stack", "export", "--show-secrets", "--stack", "dev"]);
  const { deployment } = JSON.parse(text) as {
    deployment: { resources: { type: string; custom: boolean; inputs?: Record<string, unknown> }[] };
  };
  return deployment.resources
    .filter(({ type, custom }) => custom && type.startsWith("kubernetes:"))
    .map(({ inputs }) => revealed(inputs) as Manifest);
}

/** As `--show-secrets` writes them: `{ signature, plaintext: JSON }`. */
function revealed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(revealed);
  if (typeof value !== "object" || value === null) return value;
  const { plaintext } = value as { plaintext?: unknown };
  if (typeof plaintext === "string" && "4dabf18193072939515e22adb298388d" in value)
    return revealed(JSON.parse(plaintext));
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => key !== "__defaults")
      .map(([key, entry]) => [key, revealed(entry)]),
  );
}

async function apply(cluster: Cluster, manifests: readonly Manifest[]): Promise<void> {
  const isNamespace = ({ kind }: Manifest) => kind === "Namespace";
  const command = ["apply", "--server-side", "--filename=-"];
  await withInput(cluster, command, manifests.filter(isNamespace));
  await withInput(
    cluster,
    command,
    manifests.filter((manifest) => !isNamespace(manifest)),
  );
  const deadline = Date.now() + readyWithinSeconds * 1000;
  // Those that an `up` waits for.
  const jobs = manifests.filter(
    ({ kind, metadata }) => kind === "Job" && metadata.annotations?.["pulumi.com/skipAwait"] !== "true",
  );
  for (;;) {
    const rows = await readStatus(cluster.kubeconfig, cluster.context);
    const unready = rows.filter(({ healthy }) => !healthy).map(({ workload }) => workload);
    if (unready.length === 0 && (await allComplete(cluster, jobs))) return;
    if (Date.now() > deadline)
      throw new Error(`not ready after ${readyWithinSeconds} s by kubectl: ${unready.join(", ")}`);
    await sleep(250);
  }
}

async function allComplete(cluster: Cluster, jobs: readonly Manifest[]): Promise<boolean> {
  for (const { metadata } of jobs) {
    const output = "--output=jsonpath={.status.succeeded}";
    const query = ["get", "job.batch", metadata.name, `--namespace=${metadata.namespace ?? ""}`, output];
    if ((await withInput(cluster, query)) !== "1") return false;
  }
  return true;
}

async function remove(cluster: Cluster, manifests: readonly Manifest[]): Promise<void> {
  const command = ["delete", "--ignore-not-found", "--timeout=180s", "--filename=-"];
  // Last first: what others stand on goes when they are gone.
  await withInput(cluster, command, manifests.toReversed());
}

async function withInput(
  { kubeconfig, context }: Cluster,
  args: readonly string[],
  items?: readonly Manifest[],
) {
  const connection = ["--kubeconfig", kubeconfig, "--context", context];
  const input = items && JSON.stringify({ apiVersion: "v1", kind: "List", items });
  return run(await kubectlProgram(), [...connection, ...args], input === undefined ? {} : { input });
}
