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
  for (const id of await entries(bundles)) {
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

/** What the kubelet and the CNI library keep in fixed places: control groups, links to logs, results of past calls. */
export async function removePodTraces(): Promise<void> {
  for (const controller of await entries("/sys/fs/cgroup")) {
    await removeGroups(
      controller === "kubepods" ? "/sys/fs/cgroup/kubepods" : `/sys/fs/cgroup/${controller}/kubepods`,
    );
  }
  for (const name of await entries("/var/log/containers")) {
    const link = join("/var/log/containers", name);
    const target = await readlink(link).catch(() => "");
    if (target.startsWith(inCluster("pod-logs"))) await rm(link, { force: true });
  }
  const results = "/var/lib/cni/results";
  for (const name of await entries(results)) {
    const sandbox = /^groundwork-(\w+)-eth0$/.exec(name)?.[1];
    if (sandbox === undefined) continue;
    for (const file of [name, `cni-loopback-${sandbox}-lo`]) await rm(join(results, file), { force: true });
  }
  await rm("/var/lib/kubelet/device-plugins/kubelet.sock", { force: true });
  // Whatever others have in them stays: only empty directories can be removed this way.
  for (const path of [
    "/var/log/containers",
    results,
    "/var/lib/cni",
    "/var/lib/kubelet/device-plugins",
    "/var/lib/kubelet",
  ]) {
    await rmdir(path).catch(() => undefined);
  }
}

async function entries(path: string): Promise<string[]> {
  return readdir(path).catch(() => []);
}

/** Only empty groups can be removed, so this cannot touch anything alive. */
async function removeGroups(path: string): Promise<void> {
  for (const entry of await readdir(path, { withFileTypes: true }).catch(() => [])) {
    if (entry.isDirectory()) await removeGroups(join(path, entry.name));
  }
  await rmdir(path).catch(() => undefined);
}
