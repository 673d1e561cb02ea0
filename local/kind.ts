/** The cluster that kind makes in Docker. `kind get clusters` names it whether it runs, was stopped, or was left half-made. */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { stringify } from "yaml";
import type { Cluster } from "./cluster.ts";
import { requireFreePort } from "./node/network.ts";
import { edgePorts, isInitialized } from "./stack.ts";
import { cacheDirectory, message, run, say, tryRun, UserError } from "./system.ts";
import { tool } from "./tool.ts";

const name = "groundwork";
const container = `${name}-control-plane`;
const readySeconds = 120;

const kubeconfigPath = (): string => join(cacheDirectory(), "kind.kubeconfig");

/**
 * Makes the cluster, or starts the one that is there; undefined, and why is said, where no Docker answers or it has no node image.
 * @throws {UserError} where there is a Docker, and kind is missing or cannot make it.
 */
export async function kindCluster(): Promise<Cluster | undefined> {
  if (!(await isDockerThere())) {
    say("cluster: not kind's, because no Docker answers here");
    return undefined;
  }
  const program = await tool("kind");
  const clusters = (await tryRun(program, ["get", "clusters"])) ?? "";
  const listed = clusters.split("\n").includes(name);
  if (!(listed && (await resume(program))) && !(await create(program))) return undefined;
  say(`cluster: kind (${name}), because Docker answers here`);
  return {
    kind: "kind",
    kubeconfig: kubeconfigPath(),
    context: `kind-${name}`,
    // Docker's own networks: what comes through a published port has its gateway's address.
    loopbackSources: ["172.16.0.0/12"],
    apiServerCidrs: ["0.0.0.0/0"],
  };
}

/** Brings back what is listed; false when nothing ever ran on it and it was removed, as it cannot be brought back. */
async function resume(program: string): Promise<boolean> {
  try {
    await startKind();
    await exportKubeconfig(program);
    await untilReady();
    return true;
  } catch (error) {
    if (await isInitialized("dev"))
      throw new UserError(
        `kind's cluster, which the stack is on or was, does not come back: ${message(error)}\n` +
          `\`docker logs ${container}\` says more; \`make clean\` gives up the cluster and all that is on it.`,
      );
    say("cluster: an interrupted run left kind's half-made; it is made anew");
    await removeKind();
    return false;
  }
}

/** False where Docker cannot get the node image; anything else that it fails for is the person's to mend. */
async function create(program: string): Promise<boolean> {
  const listenAddress = "127.0.0.1";
  for (const port of Object.values(edgePorts)) await requireFreePort("kind's cluster", listenAddress, port);
  say("cluster: making a kind cluster (1 to 3 minutes)");
  const portMapping = (port: number): object => ({
    containerPort: port,
    hostPort: port,
    listenAddress,
  });
  const extraPortMappings = [portMapping(edgePorts.https), portMapping(edgePorts.http)];
  const config = stringify({
    kind: "Cluster",
    apiVersion: "kind.x-k8s.io/v1alpha4",
    nodes: [{ role: "control-plane", extraPortMappings }],
  });
  const args = ["create", "cluster", "--name", name, "--kubeconfig", kubeconfigPath()];
  try {
    await run(program, [...args, "--wait", `${readySeconds}s`, "--config", "-"], { input: config });
    await exportKubeconfig(program);
    return true;
  } catch (error) {
    await removeKind();
    const reason = message(error);
    if (!reason.includes("failed to pull image"))
      throw new UserError(`kind made no cluster: ${reason}\nMend that, then run the same command again.`);
    say(`cluster: not kind's, because Docker cannot get its node image: ${reason}`);
    return false;
  }
}

async function exportKubeconfig(program: string): Promise<void> {
  await run(program, ["export", "kubeconfig", "--name", name, "--kubeconfig", kubeconfigPath()]);
}

/** Asked by the node's own kubectl, which is there before any other. */
async function untilReady(): Promise<void> {
  const deadline = Date.now() + readySeconds * 1000;
  const kubectl = ["exec", container, "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf"];
  const isReady = [...kubectl, "wait", "--for=condition=Ready", "nodes", "--all", "--timeout=5s"];
  while ((await tryRun("docker", isReady)) === undefined) {
    if (Date.now() > deadline) throw new Error(`its node is not ready after ${readySeconds} s`);
    await sleep(1000);
  }
}

/** Puts archives of images where the cluster's pods find them. */
export async function loadIntoKind(tars: readonly string[]): Promise<void> {
  const program = await tool("kind");
  for (const tar of tars) await run(program, ["load", "image-archive", tar, "--name", name]);
}

export async function stopKind(): Promise<void> {
  await run("docker", ["stop", container]);
}

export async function startKind(): Promise<void> {
  await run("docker", ["start", container]);
}

async function isDockerThere(): Promise<boolean> {
  return (await tryRun("docker", ["info"])) !== undefined;
}

/** @throws {UserError} where nothing of kind's can be removed, as no Docker answers. */
export async function requireDocker(): Promise<void> {
  if (await isDockerThere()) return;
  throw new UserError(
    "kind's cluster cannot be removed, as no Docker answers here. Start Docker, then run the same command again.",
  );
}

/** As `kind delete cluster` does, also where kind itself is not there any more. */
export async function removeKind(): Promise<void> {
  await tryRun("docker", ["rm", "--force", "--volumes", container]);
}
