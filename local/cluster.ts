/**
 * The Kubernetes that the dev stack runs on, chosen in this order: the context that `Pulumi.dev.yaml` names, if it
 * answers; kind, where Docker can pull its node image; the machine's own node, built from packages. Whichever of the last two
 * was chosen is kept until `make clean`.
 */
import { mkdir, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import type { LocalImages } from "./images.ts";
import { kindCluster, loadIntoKind, removeKind, requireDocker, startKind, stopKind } from "./kind.ts";
import { fullName } from "./node/images.ts";
import { clusterDirectory, network } from "./node/layout.ts";
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
import { committedContext, makesCluster } from "./stack.ts";
import {
  cacheDirectory,
  exists,
  findCommand,
  readIfPresent,
  replaceFile,
  run,
  say,
  tryRun,
  UserError,
} from "./system.ts";
import { tool } from "./tool.ts";

export interface Cluster {
  readonly kind: "existing" | "kind" | "node";
  readonly kubeconfig: string;
  readonly context: string;
  /** Networks that requests from this machine come from, as the edge sees them. */
  readonly loopbackSources: readonly string[];
  /** Addresses of the API server behind its Service. */
  readonly apiServerCidrs: readonly string[];
}

const chosenFile = (): string => join(cacheDirectory(), "cluster.json");

/**
 * Makes a cluster that answers, and says which and why.
 * @param found - what `existingCluster` has found, if anything.
 */
export async function ensureCluster(found?: Cluster): Promise<Cluster> {
  const chosen = await chosenCluster();
  if (chosen?.kind === "existing" && !found)
    throw new UserError(
      `The stack is on the cluster of the context ${chosen.context}, which does not answer now. Make it answer, then run the same ` +
        "command again; `make clean` forgets it, and leaves what is on it.",
    );
  const cluster = found ?? (await ownCluster(chosen?.kind));
  await mkdir(cacheDirectory(), { recursive: true });
  await replaceFile(chosenFile(), JSON.stringify(cluster));
  return cluster;
}

/** The cluster that the last `make up` chose; an error that says what to do when there is none. */
export async function currentCluster(): Promise<Cluster> {
  const cluster = await chosenCluster();
  if (cluster === undefined) throw new UserError("No cluster has been made yet. Run `make up` first.");
  // One that is root's is an error here, before kubectl makes another of it.
  await readIfPresent(cluster.kubeconfig);
  return cluster;
}

async function chosenCluster(): Promise<Cluster | undefined> {
  const text = await readIfPresent(chosenFile());
  return text === undefined ? undefined : (JSON.parse(text) as Cluster);
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
  const cluster = await chosenCluster();
  return cluster?.context === context ? cluster.kubeconfig : undefined;
}

/**
 * The cluster of the context that dev's committed file names, if it is there and answers.
 * @throws {UserError} when there is no kubectl to ask it with.
 */
export async function existingCluster(): Promise<Cluster | undefined> {
  const context = await committedContext("dev");
  const kubeconfig = process.env["KUBECONFIG"] ?? join(homedir(), ".kube", "config");
  if (context === contextName || (await readIfPresent(kubeconfig)) === undefined) return undefined;
  const kubectl = await findCommand("kubectl");
  if (kubectl === undefined)
    throw new UserError(
      `Pulumi.dev.yaml names the context "${context}" (groundwork:cluster.context), and kubectl, which that cluster is asked by, is ` +
        `not on PATH. Install kubectl, or name ${contextName} there for a cluster that is made here; then run the same command again.`,
    );
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
  return { kind: "existing", kubeconfig, context, loopbackSources: [], apiServerCidrs: [] };
}

/** What the last `make up` chose, or what runs already, is not left behind for something else. */
async function ownCluster(chosen: Cluster["kind"] | undefined): Promise<Cluster> {
  const isLinux = process.platform === "linux";
  const runs = chosen === undefined && isLinux && (await nodeStatus()).state !== "stopped";
  if (chosen === "node" || runs) return ownNode(", as before");
  const cluster = await kindCluster();
  if (cluster !== undefined) return cluster;
  if (chosen === "kind")
    throw new UserError(
      "The stack is on kind's cluster, which cannot be had here now. Start Docker, or mend what kind says above, then run the " +
        "same command again; `make clean` gives up the cluster and all that is on it.",
    );
  if (!isLinux)
    throw new UserError(
      "Other systems than Linux need kind's cluster. Start Docker, or mend what is said above, then run the same command again; or " +
        "name an existing cluster's context in Pulumi.dev.yaml.",
    );
  return ownNode("");
}

async function ownNode(reason: string): Promise<Cluster> {
  await startNode();
  say(`cluster: this machine's own node${reason}`);
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
  if (cluster.kind === "kind") await loadIntoKind(tars);
}

/** Ends the cluster's processes, or its container; all data stays. */
export async function stopCluster(cluster: Cluster): Promise<void> {
  if (cluster.kind === "node") return stopNode();
  requireOwn(cluster, "stop");
  await stopKind();
}

/** Starts what `stopCluster` stopped. */
export async function startCluster(cluster: Cluster): Promise<void> {
  if (cluster.kind === "node") return startNode();
  requireOwn(cluster, "start");
  await startKind();
}

function requireOwn({ kind, context }: Cluster, verb: string): void {
  if (kind !== "existing") return;
  throw new UserError(
    `The stack runs on ${context}, a cluster that was there before: ${verb} it with the tool that made it.`,
  );
}

/**
 * Removes whatever `ensureCluster` made; a cluster that was there before stays.
 * @returns the cluster that the last `make up` chose.
 * @throws {UserError} where it cannot be removed now; nothing is, then.
 */
export async function removeCluster(): Promise<Cluster | undefined> {
  const chosen = await chosenCluster();
  if (chosen?.kind === "kind") await requireDocker();
  if (await exists(clusterDirectory())) await removeNode();
  await removeKind();
  await rm(chosenFile(), { force: true });
  return chosen;
}

/** The kubectl of the machine, or one that is built for it. */
export function kubectlProgram(): Promise<string> {
  return tool("kubernetes", "kubectl");
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
