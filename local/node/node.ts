/**
 * The machine's own Kubernetes node: real parts as processes of this machine, reachable from this machine only.
 * Every function here may be interrupted and called again.
 */
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { buildGoTool } from "../gotools.ts";
import { withLock } from "../lock.ts";
import {
  ensureSystemPackages,
  isErrno,
  message,
  readIfPresent,
  requireRoot,
  run,
  say,
  tryRun,
  UserError,
} from "../system.ts";
import { applyAddons, areRolesKnown, isDnsAnswering } from "./addons.ts";
import { connect, type Api } from "./api.ts";
import { partKubeconfig, writeConfiguration } from "./configuration.ts";
import { removePodTraces, stopContainers } from "./containers.ts";
import { imageStore, programImage, type ImageStore } from "./images.ts";
import { clusterDirectory, containerdSocket, inCluster, runtimeDirectory } from "./layout.ts";
import { ensureNetwork, removeNetwork, requireFreePorts } from "./network.ts";
import { nodeParts, partNames, type PartName } from "./parts.ts";
import { ensurePki } from "./pki.ts";
import { requireRunning, runningPid, startPart, stopPart, stopStrays } from "./processes.ts";
import { isNodeReady } from "./status.ts";
import { mountVolumes, unmountBelow } from "./volumes.ts";

export { contextName, kubeconfigPath } from "./layout.ts";
export { nodeStatus } from "./status.ts";

const bootDeadlineSeconds = 120;
const stays = "until then it stays as it is";

const systemNeeds = [
  { provides: "ip", debianPackage: "iproute2" },
  { provides: "iptables", debianPackage: "iptables" },
  { provides: "openssl", debianPackage: "openssl" },
  { provides: "mkfs.xfs", debianPackage: "xfsprogs" },
  { provides: "mount", debianPackage: "mount" },
  { provides: "tar", debianPackage: "tar" },
  { provides: "/usr/lib/cni/ptp", debianPackage: "containernetworking-plugins" },
];

/** Builds what is missing and brings the node up, or repairs it; returns when pods can run and names resolve. */
export function startNode(): Promise<void> {
  requireRoot(
    "The machine's own Kubernetes node needs root, as it mounts file systems and sets up a network",
    "or start Docker, with kind or Go on PATH; or name an existing cluster's context in Pulumi.dev.yaml",
  );
  return withLock("node", async () => {
    await ensureSystemPackages(systemNeeds, "the Kubernetes node");
    const built = await buildPrograms();
    const started = Date.now();
    await claimMachine();
    await Promise.all([prepareFiles(built), ensureNetwork(), mountVolumes()]);
    const parts = nodeParts(built);
    await stopStrays(Object.values(parts));
    const stopped = await stoppedParts();
    await requireFreePorts(stopped);
    const boot = new Boot(started);

    await Promise.all([startPart(parts.containerd), startPart(parts.etcd)]);
    await startPart(parts["kube-apiserver"]);
    const store = imageStore(join(built.containerd, "ctr"));
    const images = boot
      .until("containerd", ["containerd"], () => isContainerdUp(built.containerd))
      .then(() => store.importImages([built.pause.tar, built.dns.tar]));
    const api = await connect("admin");
    await boot.until("the API server", ["etcd", "kube-apiserver"], () => isApiReady(api));
    await boot.until("the API server's roles", ["etcd", "kube-apiserver"], () => areRolesKnown(api));
    await Promise.all([startPart(parts["kube-controller-manager"]), startPart(parts["kube-scheduler"])]);
    await Promise.all([images, applyAddons(api, built.dns.reference)]);
    const kubeletStarted = stopped.includes("kubelet") ? Date.now() : undefined;
    await Promise.all([startPart(parts.kubelet), startPart(parts["kube-proxy"]), startPart(parts.keeper)]);
    await boot.until("the node", partNames, () => isNodeReady(api, kubeletStarted));
    await boot.until("cluster DNS", partNames, isDnsAnswering);
    say(`node: ready after ${boot.seconds()} s`);
  });
}

/** Ends every part and pod and takes the network down; all data stays. */
export function stopNode(): Promise<void> {
  requireRoot("Stopping the node needs root, which it runs as", stays);
  return withLock("node", stop);
}

/** Stops the node and removes all its data; the built programs stay in the cache. */
export function removeNode(): Promise<void> {
  requireRoot("Removing the node needs root, which it runs as", stays);
  return withLock("node", async () => {
    if (await ownsMachine()) {
      await stop();
      await removePodTraces();
    }
    await rm(clusterDirectory(), { recursive: true, force: true });
  });
}

/** Imports `docker save` archives into the running node, skipping those already there. */
export async function importImages(tars: readonly string[]): Promise<void> {
  await (await runningStore()).importImages(tars);
}

/** Full references of the images on the running node. */
export async function listImages(): Promise<string[]> {
  return (await runningStore()).listImages();
}

/** Removes unused images whose reference begins with the prefix, except those to keep. */
export async function pruneImages(keep: readonly string[], referencePrefix: string): Promise<void> {
  await (await runningStore()).pruneImages(keep, referencePrefix);
}

async function runningStore(): Promise<ImageStore> {
  if ((await runningPid("containerd")) === undefined)
    throw new UserError("The node is not running: start it first (make up).");
  return imageStore(join(await buildGoTool("containerd"), "ctr"));
}

async function stop(): Promise<void> {
  if (!(await ownsMachine())) return;
  say("node: stopping");
  for (const part of [
    "keeper",
    "kubelet",
    "kube-proxy",
    "kube-scheduler",
    "kube-controller-manager",
  ] as const) {
    await stopPart(part);
  }
  await stopContainers();
  await stopPart("kube-apiserver");
  await stopPart("etcd");
  await unmountBelow(inCluster("kubelet"));
  await unmountBelow(inCluster("volumes"));
  await removeServiceRules();
  await removeNetwork();
  await rm(runtimeDirectory, { recursive: true, force: true });
}

type Built = Awaited<ReturnType<typeof buildPrograms>>;

async function buildPrograms() {
  await mkdir(clusterDirectory(), { recursive: true, mode: 0o700 });
  // One after the other: each build uses every core by itself.
  const kubernetes = await buildGoTool("kubernetes", ...partNames.filter((name) => name.startsWith("kube")));
  const etcd = await buildGoTool("etcd");
  const containerd = await buildGoTool("containerd");
  const runc = join(await buildGoTool("runc"), "runc");
  const dns = await programImage("coredns", join(await buildGoTool("coredns"), "coredns"));
  const pause = await programImage("pause", join(await buildGoTool("pause"), "pause"));
  await writeFile(inCluster("kubernetes-programs"), kubernetes);
  return { kubernetes, etcd, containerd, runc, dns, pause };
}

async function prepareFiles(built: Built): Promise<void> {
  await ensurePki();
  await writeConfiguration({ runc: built.runc, pauseImage: built.pause.reference });
}

/** Addresses and rules are the machine's, so it has room for one node, whichever cache directory it came from. */
async function claimMachine(): Promise<void> {
  const file = join(runtimeDirectory, "owner");
  await mkdir(runtimeDirectory, { recursive: true, mode: 0o711 });
  try {
    await writeFile(file, clusterDirectory(), { flag: "wx" });
  } catch (error) {
    if (!isErrno(error, "EEXIST")) throw error;
    const owner = await readFile(file, "utf8");
    if (owner === clusterDirectory()) return;
    throw new UserError(
      `This machine already runs the node of ${owner}. Stop that one first (make clean, with its GROUNDWORK_CACHE).`,
    );
  }
}

async function ownsMachine(): Promise<boolean> {
  const owner = await readIfPresent(join(runtimeDirectory, "owner"));
  return owner === undefined || owner === clusterDirectory();
}

async function stoppedParts(): Promise<PartName[]> {
  const running = await Promise.all(partNames.map((name) => runningPid(name)));
  return partNames.filter((_, index) => running[index] === undefined);
}

async function isContainerdUp(programs: string): Promise<boolean> {
  return (await tryRun(join(programs, "ctr"), ["-a", containerdSocket, "version"])) !== undefined;
}

async function isApiReady(api: Api): Promise<boolean> {
  return (await api.get("/readyz")) === "ok";
}

/** kube-proxy knows best which rules it made. */
async function removeServiceRules(): Promise<void> {
  const programs = await readIfPresent(inCluster("kubernetes-programs"));
  if (programs === undefined || (await readIfPresent(partKubeconfig("kube-proxy"))) === undefined) return;
  await run(join(programs, "kube-proxy"), ["--cleanup"]).catch((error: unknown) => {
    say(`node: kube-proxy could not remove its rules: ${message(error)}`);
  });
}

/** Waits for the parts, says what for, and ends at once when one of them does. */
class Boot {
  readonly #started: number;
  #said: number;

  constructor(started: number) {
    this.#started = started;
    this.#said = started;
  }

  seconds(): string {
    return ((Date.now() - this.#started) / 1000).toFixed(1);
  }

  async until(what: string, needs: readonly PartName[], isReady: () => Promise<boolean>): Promise<void> {
    let reason = "";
    for (;;) {
      const ready = await isReady().catch((error: unknown) => {
        reason = message(error);
        return false;
      });
      if (ready) return;
      for (const part of needs) await requireRunning(part);
      if (Date.now() - this.#started > bootDeadlineSeconds * 1000) {
        throw new UserError(
          `${what} did not come up in ${bootDeadlineSeconds} s (${reason}). Logs: ${inCluster("logs")}`,
        );
      }
      if (Date.now() - this.#said > 8_000) {
        this.#said = Date.now();
        say(`node: waiting for ${what}, ${this.seconds()} s so far (usually 10 to 20 s)`);
      }
      await sleep(150);
    }
  }
}
