/** Ending what runs in the node's containers, whether containerd still lives or not. */
import { readdir, readFile, readlink, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { readIfPresent, say } from "../system.ts";
import { containerdSocket, containerdState, inCluster, runcRoot } from "./layout.ts";
import { stopPart } from "./processes.ts";
import { unmountBelow } from "./volumes.ts";

const bundles = join(containerdState, "io.containerd.runtime.v2.task", "k8s.io");
const graceSeconds = 9;

/** Ends every container in order (first it is asked to), then containerd, then what of it remains. */
export async function stopContainers(): Promise<void> {
  const deadline = Date.now() + graceSeconds * 1000;
  const workloads = await containerPids((program) => program !== "pause");
  if (workloads.length > 0) say(`node: stopping ${workloads.length} containers (up to ${graceSeconds} s)`);
  for (const pid of workloads) signal(pid, "SIGTERM");
  let remaining = workloads;
  while (remaining.length > 0 && Date.now() < deadline) {
    await sleep(100);
    remaining = await containerPids((program) => program !== "pause");
  }
  for (const pid of await containerPids(() => true)) signal(pid, "SIGKILL");
  await sleep(500);
  await stopPart("containerd");
  for (const pid of await shimPids()) signal(pid, "SIGKILL");
  await unmountBelow(containerdState);
  await rm(containerdState, { recursive: true, force: true });
  await rm(runcRoot, { recursive: true, force: true });
}

/** The first processes of the node's containers, told from strangers with a recycled pid by their cgroup. */
async function containerPids(wanted: (program: string) => boolean): Promise<number[]> {
  const pids: number[] = [];
  for (const id of await readdir(bundles).catch(() => [])) {
    const pid = (await readIfPresent(join(bundles, id, "init.pid")))?.trim();
    if (pid === undefined) continue;
    const cgroup = await readFile(`/proc/${pid}/cgroup`, "utf8").catch(() => "");
    const program = await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "");
    if (cgroup.includes(id) && wanted(program.trim())) pids.push(Number(pid));
  }
  return pids;
}

export async function shimPids(): Promise<number[]> {
  const pids: number[] = [];
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const args = (await readFile(`/proc/${entry}/cmdline`, "utf8").catch(() => "")).split("\0");
    const isOurs = args[args.indexOf("-address") + 1] === containerdSocket;
    if (!isOurs) continue;
    const program = await readlink(`/proc/${entry}/exe`).catch(() => "");
    if (program.includes("containerd-shim-runc-v2")) pids.push(Number(entry));
  }
  return pids;
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended meanwhile.
  }
}

/** The pods' control groups, and the links to their logs that the kubelet makes in a fixed place. */
export async function removePodTraces(): Promise<void> {
  for (const controller of await readdir("/sys/fs/cgroup").catch(() => [])) {
    await removeGroups(
      controller === "kubepods" ? "/sys/fs/cgroup/kubepods" : `/sys/fs/cgroup/${controller}/kubepods`,
    );
  }
  const links = "/var/log/containers";
  for (const name of await readdir(links).catch(() => [])) {
    const target = await readlink(join(links, name)).catch(() => "");
    if (target.startsWith(inCluster("pod-logs"))) await rm(join(links, name), { force: true });
  }
  await rmdir(links).catch(() => undefined);
}

/** Only empty groups can be removed, so this cannot touch anything alive. */
async function removeGroups(path: string): Promise<void> {
  for (const entry of await readdir(path, { withFileTypes: true }).catch(() => [])) {
    if (entry.isDirectory()) await removeGroups(join(path, entry.name));
  }
  await rmdir(path).catch(() => undefined);
}
