/** What only the machine under the pods can do to them; so these faults are made on this machine's own node. */
import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { promisify } from "node:util";
import type { V1Pod } from "@kubernetes/client-node";
import { get, kubectl } from "../cluster/support.ts";

const execute = promisify(execFile);

/** Ids of the pod's processes, as the node numbers them. */
async function processesOf(namespace: string, pod: string): Promise<number[]> {
  const { metadata } = (await get("pod", `--namespace=${namespace}`, pod)) as V1Pod;
  const uid = metadata?.uid ?? "";
  const ids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const groups = await Promise.all(ids.map((id) => readFile(`/proc/${id}/cgroup`, "utf8").catch(() => "")));
  const found = ids.filter((_, index) => groups[index]?.includes(uid)).map(Number);
  if (uid !== "" && found.length > 0) return found;
  throw new Error(`${pod} has no process on this machine; chaos needs the stack on this machine's own node`);
}

/** Ends every process of the pod at once, as losing the power would; then the pod goes, and another comes. */
export async function kill(namespace: string, pod: string): Promise<void> {
  for (const id of await processesOf(namespace, pod)) {
    try {
      process.kill(id, "SIGKILL");
    } catch (error) {
      // Gone by itself since it was listed, as a probe's command is.
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }
  await kubectl("delete", "pod", `--namespace=${namespace}`, pod, "--grace-period=0", "--force");
}

/** Runs `work` while nothing that the pod sends arrives: anywhere, or only at an address. Heals it whatever happens. */
export async function whilePartitioned<T>(
  namespace: string,
  pod: string,
  work: () => Promise<T>,
  address?: string,
): Promise<T> {
  // After the table of local addresses, before every other: what leaves the pod has nowhere to go. By a process that is
  // there now: its containers may be started anew meanwhile, in the same network.
  const rule = async (verb: string) => {
    const [id] = await processesOf(namespace, pod);
    const to = address === undefined ? [] : ["to", address];
    await execute("nsenter", ["-t", String(id), "-n", "ip", "rule", verb, "pref", "1", ...to, "blackhole"]);
  };
  await rule("add");
  try {
    return await work();
  } finally {
    await rule("del");
  }
}
