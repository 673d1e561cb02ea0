/** The node's own address, the rules for its pods' traffic, and the kernel settings that Kubernetes changes. */
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { exists, isErrno, readIfPresent, run, tryRun, UserError } from "../system.ts";
import { inCluster, network, ports } from "./layout.ts";
import { policyChain, policyChains } from "./policies.ts";

const chain = "GROUNDWORK-FORWARD";

/** What the kubelet, kube-proxy and the CNI plugins set; put back when the node is removed. */
const changedSettings = [
  "net/ipv4/ip_forward",
  "net/ipv4/conf/all/route_localnet",
  "vm/overcommit_memory",
  "vm/panic_on_oom",
  "kernel/panic",
  "kernel/panic_on_oops",
  "kernel/keys/root_maxkeys",
  "kernel/keys/root_maxbytes",
];

const settingsFile = (): string => inCluster("host-settings.json");

export async function ensureNetwork(): Promise<void> {
  await rememberSettings();
  const { interface: device, nodeAddress } = network;
  if ((await tryRun("ip", ["link", "show", device])) === undefined) {
    // A bridge without ports carries the address everywhere that containers run; dummy devices are often missing.
    await run("ip", ["link", "add", device, "type", "bridge"]);
  }
  await run("ip", ["address", "replace", `${nodeAddress}/32`, "dev", device]);
  await run("ip", ["link", "set", device, "up"]);
  await writeFile("/proc/sys/net/ipv4/ip_forward", "1");
  await ensureForwardRules();
  await ensurePolicyRules();
}

/** Pods reach each other and this machine and nothing else, whatever the chain's policy (Docker's is to drop). */
async function ensureForwardRules(): Promise<void> {
  const { podCidr } = network;
  await tryRun("iptables", ["-w", "-N", chain]);
  const lines = [
    "*filter",
    `:${chain} - [0:0]`,
    `-A ${chain} -s ${podCidr} -d ${podCidr} -j ACCEPT`,
    `-A ${chain} -s ${podCidr} -j REJECT --reject-with icmp-admin-prohibited`,
    `-A ${chain} -d ${podCidr} -j DROP`,
    "COMMIT",
  ];
  // One transaction that also empties the chain: pods that run never see it half filled.
  await run("iptables-restore", ["-w", "--noflush"], { input: `${lines.join("\n")}\n` });
  if ((await tryRun("iptables", ["-w", "-C", "FORWARD", "-j", chain])) === undefined) {
    await run("iptables", ["-w", "-A", "FORWARD", "-j", chain]);
  }
}

/**
 * What pods send to each other and to this machine passes the network policies before all else, kube-proxy's rules included.
 * What this machine sends to them does not: the kubelet's probes are let in everywhere.
 */
async function ensurePolicyRules(): Promise<void> {
  const { podCidr } = network;
  await tryRun("iptables", ["-w", "-N", policyChain]);
  for (const hook of ["FORWARD", "INPUT"]) {
    const rule = [hook, ...(hook === "INPUT" ? ["-s", podCidr] : []), "-j", policyChain];
    if ((await tryRun("iptables", ["-w", "-C", ...rule])) === undefined)
      await run("iptables", ["-w", "-I", ...rule]);
  }
}

export async function removeNetwork(): Promise<void> {
  await removeChain(chain, ["FORWARD"]);
  await tryRun("iptables", ["-w", "-D", "INPUT", "-s", network.podCidr, "-j", policyChain]);
  await removeChain(policyChain, ["FORWARD"]);
  for (const name of await policyChains()) await removeChain(name, []);
  // kube-proxy's own clean-up forgets this one.
  await removeChain("KUBE-FIREWALL", ["INPUT", "OUTPUT"]);
  await tryRun("ip", ["link", "delete", network.interface]);
  const saved = await readIfPresent(settingsFile());
  if (saved === undefined) return;
  for (const [setting, value] of Object.entries(JSON.parse(saved) as Record<string, string>)) {
    await writeFile(`/proc/sys/${setting}`, value).catch(() => undefined);
  }
  await rm(settingsFile());
}

async function removeChain(name: string, usedIn: readonly string[]): Promise<void> {
  for (const parent of usedIn)
    while ((await tryRun("iptables", ["-w", "-D", parent, "-j", name])) !== undefined);
  await tryRun("iptables", ["-w", "-F", name]);
  await tryRun("iptables", ["-w", "-X", name]);
}

async function rememberSettings(): Promise<void> {
  const file = settingsFile();
  if (await exists(file)) return;
  const values: Record<string, string> = {};
  for (const setting of changedSettings) {
    const value = await readIfPresent(`/proc/sys/${setting}`);
    if (value !== undefined) values[setting] = value.trim();
  }
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, JSON.stringify(values, undefined, 2));
}

/** Which part listens where; checked before anything is started. */
export const listeners: readonly { part: string; address: string; port: number }[] = [
  { part: "etcd", address: "127.0.0.1", port: ports.etcd },
  { part: "etcd", address: "127.0.0.1", port: ports.etcdPeer },
  { part: "kube-apiserver", address: network.nodeAddress, port: ports.api },
  { part: "kube-controller-manager", address: "127.0.0.1", port: ports.controllerManager },
  { part: "kube-scheduler", address: "127.0.0.1", port: ports.scheduler },
  { part: "kubelet", address: network.nodeAddress, port: ports.kubelet },
  { part: "kubelet", address: "127.0.0.1", port: ports.kubeletHealth },
  { part: "kube-proxy", address: "127.0.0.1", port: ports.proxyMetrics },
  { part: "kube-proxy", address: "127.0.0.1", port: ports.proxyHealth },
];

/** Throws if someone else listens where one of these parts is to. */
export async function requireFreePorts(parts: readonly string[]): Promise<void> {
  for (const { part, address, port } of listeners)
    if (parts.includes(part)) await requireFreePort(part, address, port);
}

/** @throws {UserError} naming who listens there already. @param what - what is to listen there */
export async function requireFreePort(what: string, address: string, port: number): Promise<void> {
  if (await becomesFree(address, port)) return;
  throw new UserError(
    `${what} needs port ${port} on ${address}, which ${await portOwner(port)} has. ` +
      "Stop that process, then run the same command again.",
  );
}

/** A part that is just ending still has its port for a moment. */
async function becomesFree(address: string, port: number): Promise<boolean> {
  for (let attempt = 0; attempt < 20; attempt++) {
    if (!(await isTaken(address, port))) return true;
    await sleep(150);
  }
  return false;
}

function isTaken(host: string, port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (error) => {
      if (isErrno(error, "EADDRINUSE")) resolve(true);
      else reject(error);
    });
    server.listen({ host, port, exclusive: true }, () => {
      server.close(() => {
        resolve(false);
      });
    });
  });
}

async function portOwner(port: number): Promise<string> {
  const sockets = (await tryRun("ss", ["-Hltnp", `sport = :${port}`])) ?? "";
  const pid = /pid=(\d+)/.exec(sockets)?.[1];
  if (pid === undefined) return "another process";
  const commandLine = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  return `process ${pid} (${commandLine
    .replace(/[\0\s]+/g, " ")
    .trim()
    .slice(0, 80)})`;
}
