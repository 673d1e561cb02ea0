/**
 * The Kubernetes that the dev stack runs on, chosen in this order: the context that `Pulumi.dev.yaml` names, if it
 * answers; kind, where Docker can pull its node image; the machine's own node, built from packages.
 */
import { mkdir, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { buildGoTool } from "./gotools.ts";
import type { LocalImages } from "./images.ts";
import { fullName } from "./node/images.ts";
import { network } from "./node/layout.ts";
import {
  contextName,
  importImages,
  listImages,
  kubeconfigPath,
  nodeStatus,
  pruneImages,
  removeNode,
  startNode,
  stopNode,
} from "./node/node.ts";
import { committedContext, edgePorts, makesCluster } from "./stack.ts";
import {
  cacheDirectory,
  findCommand,
  message,
  readIfPresent,
  run,
  say,
  tryRun,
  UserError,
} from "./system.ts";

export interface Cluster {
  readonly kind: "existing" | "kind" | "node";
  readonly kubeconfig: string;
  readonly context: string;
  /** Networks that requests from this machine come from, as the edge sees them. */
  readonly loopbackSources: readonly string[];
  /** Addresses of the API server behind its Service. */
  readonly apiServerCidrs: readonly string[];
}

const kindName = "groundwork";
const kindContainer = `${kindName}-control-plane`;
const chosenFile = (): string => join(cacheDirectory(), "cluster.json");

/** Makes a cluster that answers, and says which and why. */
export async function ensureCluster(): Promise<Cluster> {
  const cluster = (await existing()) ?? (await kind()) ?? (await ownNode());
  await mkdir(cacheDirectory(), { recursive: true });
  await writeFile(chosenFile(), JSON.stringify(cluster));
  return cluster;
}

/** The cluster that the last `make up` chose; an error that says what to do when there is none. */
export async function currentCluster(): Promise<Cluster> {
  const text = await readIfPresent(chosenFile());
  if (text === undefined) throw new UserError("No cluster has been made yet. Run `make up` first.");
  return JSON.parse(text) as Cluster;
}

/**
 * The cluster that a command works on: this machine's for dev, else the context that the stack's file names, or that the
 * operator does (CONTEXT) where the stack makes its cluster. @throws {UserError}
 */
export async function operatedCluster(stack: string): Promise<Cluster> {
  const made = await makesCluster(stack);
  if (stack === "dev") return currentCluster();
  const context = made ? (process.env["CONTEXT"] ?? "") : await committedContext(stack);
  if (context === "")
    throw new UserError(
      made
        ? `The stack ${stack} makes its own cluster (azure.cluster: create), whose context Pulumi.${stack}.yaml cannot name: ` +
            "get it by `az aks get-credentials`, then run the same command with CONTEXT=name."
        : `Pulumi.${stack}.yaml names no groundwork:cluster.context, so there is no cluster to work on.`,
    );
  const kubeconfig = process.env["KUBECONFIG"] ?? join(homedir(), ".kube", "config");
  return { kind: "existing", kubeconfig, context, loopbackSources: [], apiServerCidrs: [] };
}

/** The kubeconfig of the cluster that was chosen last, if its context is this one. */
export async function kubeconfigOf(context: string): Promise<string | undefined> {
  const text = await readIfPresent(chosenFile());
  const cluster = text === undefined ? undefined : (JSON.parse(text) as Cluster);
  return cluster?.context === context ? cluster.kubeconfig : undefined;
}

async function existing(): Promise<Cluster | undefined> {
  const context = await committedContext("dev");
  const kubeconfig = process.env["KUBECONFIG"] ?? join(homedir(), ".kube", "config");
  if (context === contextName || (await readIfPresent(kubeconfig)) === undefined) return undefined;
  const kubectl = await findCommand("kubectl");
  if (kubectl === undefined) return undefined;
  const args = [
    "--kubeconfig",
    kubeconfig,
    "--context",
    context,
    "--request-timeout=5s",
    "get",
    "--raw",
    "/readyz",
  ];
  if ((await tryRun(kubectl, args)) === undefined) return undefined;
  say(`cluster: context ${context} of ${kubeconfig} answers`);
  return { kind: "existing", kubeconfig, context, loopbackSources: [], apiServerCidrs: ["0.0.0.0/0"] };
}

async function kind(): Promise<Cluster | undefined> {
  // A node that is there already is not left behind for something new.
  if ((await nodeStatus()).state !== "stopped" || (await tryRun("docker", ["info"])) === undefined)
    return undefined;
  const kindCommand = await kindProgram();
  if (kindCommand === undefined) return undefined;
  const kubeconfig = join(cacheDirectory(), "kind.kubeconfig");
  const clusters = (await tryRun(kindCommand, ["get", "clusters"])) ?? "";
  if (!clusters.split("\n").includes(kindName)) {
    say("cluster: making a kind cluster (1 to 3 minutes)");
    const portMapping = (port: number): object => ({
      containerPort: port,
      hostPort: port,
      listenAddress: "127.0.0.1",
    });
    const config = stringify({
      kind: "Cluster",
      apiVersion: "kind.x-k8s.io/v1alpha4",
      nodes: [
        {
          role: "control-plane",
          extraPortMappings: [portMapping(edgePorts.https), portMapping(edgePorts.http)],
        },
      ],
    });
    try {
      const args = [
        "create",
        "cluster",
        "--name",
        kindName,
        "--kubeconfig",
        kubeconfig,
        "--wait",
        "120s",
        "--config",
        "-",
      ];
      await run(kindCommand, args, { input: config });
    } catch (error) {
      say(
        `cluster: kind could not make one (${message(error).split("\n")[0] ?? ""}); the machine's own node is used`,
      );
      await tryRun(kindCommand, ["delete", "cluster", "--name", kindName]);
      return undefined;
    }
  }
  await run(kindCommand, ["export", "kubeconfig", "--name", kindName, "--kubeconfig", kubeconfig]);
  say(`cluster: kind (${kindName}), because Docker answers here`);
  // Docker's own networks: what comes through a published port has its gateway's address.
  const loopbackSources = ["172.16.0.0/12"];
  return {
    kind: "kind",
    kubeconfig,
    context: `kind-${kindName}`,
    loopbackSources,
    apiServerCidrs: ["0.0.0.0/0"],
  };
}

async function kindProgram(): Promise<string | undefined> {
  const onPath = await findCommand("kind");
  if (onPath !== undefined || (await findCommand("go")) === undefined) return onPath;
  return join(await buildGoTool("kind"), "kind");
}

async function ownNode(): Promise<Cluster> {
  await startNode();
  say("cluster: this machine's own node, because no configured context and no Docker answers here");
  return {
    kind: "node",
    kubeconfig: kubeconfigPath(),
    context: contextName,
    loopbackSources: [`${network.podGateway}/32`],
    apiServerCidrs: [`${network.nodeAddress}/32`],
  };
}

/** Puts the images that are built here where the cluster's pods find them, and drops the builds before them. */
export async function loadImages(cluster: Cluster, local: LocalImages): Promise<void> {
  await addImages(cluster, local);
  if (cluster.kind === "node") await pruneImages(Object.values(local.images), "groundwork/");
}

/** Puts images where the cluster's pods find them, beside those that are there. */
export async function addImages(
  cluster: Cluster,
  { images, tars }: Pick<LocalImages, "images" | "tars">,
): Promise<void> {
  if (cluster.kind === "node") {
    // References carry a hash of the content: one that is there need not be looked into.
    const present = new Set(await listImages());
    const references = Object.values(images);
    await importImages(tars.filter((_, index) => !present.has(fullName(references[index] ?? ""))));
    return;
  }
  const kindCommand = cluster.kind === "kind" ? await kindProgram() : undefined;
  if (kindCommand === undefined) return;
  for (const tar of tars) await run(kindCommand, ["load", "image-archive", tar, "--name", kindName]);
}

/** Ends the cluster's processes, or its container; all data stays. */
export async function stopCluster(cluster: Cluster): Promise<void> {
  if (cluster.kind === "node") return stopNode();
  requireOwn(cluster, "stop");
  await run("docker", ["stop", kindContainer]);
}

/** Starts what `stopCluster` stopped. */
export async function startCluster(cluster: Cluster): Promise<void> {
  if (cluster.kind === "node") return startNode();
  requireOwn(cluster, "start");
  await run("docker", ["start", kindContainer]);
}

function requireOwn({ kind, context }: Cluster, verb: string): void {
  if (kind !== "existing") return;
  throw new UserError(
    `The stack runs on ${context}, a cluster that was there before: ${verb} it with the tool that made it.`,
  );
}

/** Removes whatever `ensureCluster` made; a cluster that was there before stays. */
export async function removeCluster(): Promise<void> {
  const kindCommand = await findCommand("kind");
  if (kindCommand !== undefined) await tryRun(kindCommand, ["delete", "cluster", "--name", kindName]);
  if (process.platform === "linux" && process.getuid?.() === 0) await removeNode();
  await rm(chosenFile(), { force: true });
}

/** The kubectl of the machine, or one that is built for it. */
export async function kubectlProgram(): Promise<string> {
  return (await findCommand("kubectl")) ?? join(await buildGoTool("kubernetes", "kubectl"), "kubectl");
}

/** Runs kubectl against the cluster and gives what it printed. */
export async function kubectl(cluster: Cluster, args: readonly string[]): Promise<string> {
  return run(await kubectlProgram(), [
    "--kubeconfig",
    cluster.kubeconfig,
    "--context",
    cluster.context,
    ...args,
  ]);
}
