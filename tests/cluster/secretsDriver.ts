/** The Secrets Store CSI driver and its provider for Azure, as AKS's add-on runs them, as processes beside the node's own. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { CoreV1EventList, V1CSINode } from "@kubernetes/client-node";
import { expect } from "vitest";
import { fetchGoSource } from "../../local/gotools.ts";
import { inCluster, nodeName, runtimeDirectory } from "../../local/node/layout.ts";
import { audience } from "./standInVault.ts";
import { environment, get, kubectlWith, waitFor } from "./support.ts";

const driver = "secrets-store.csi.k8s.io";
const module = "sigs.k8s.io/secrets-store-csi-driver";
const sockets = join(runtimeDirectory, "secrets-csi");
const logFile = inCluster("logs", "secrets-csi.log");

/** What the cluster must know of the driver: its own manifests, and that the kubelet hands it tokens for Entra. */
async function objects(): Promise<string> {
  const sources = await fetchGoSource("secrets-csi", module);
  const crds = ["secretproviderclasses", "secretproviderclasspodstatuses"].map((name) =>
    readFile(join(sources, "deploy", `secrets-store.csi.x-k8s.io_${name}.yaml`), "utf8"),
  );
  const csiDriver = {
    apiVersion: "storage.k8s.io/v1",
    kind: "CSIDriver",
    metadata: { name: driver },
    spec: {
      podInfoOnMount: true,
      attachRequired: false,
      volumeLifecycleModes: ["Ephemeral"],
      requiresRepublish: true,
      tokenRequests: [{ audience }],
    },
  };
  return [...(await Promise.all(crds)), JSON.stringify(csiDriver)].join("\n---\n");
}

/** What driver, provider and registration have logged. */
export function driverLog(): Promise<string> {
  return readFile(logFile, "utf8");
}

/** Waits until the kubelet says why it cannot mount the pod's secrets. */
export async function mountRefused(namespace: string, pod: string, reason: RegExp): Promise<void> {
  const selector = `--field-selector=involvedObject.name=${pod},reason=FailedMount`;
  await waitFor(`why ${pod} is refused its secrets`, 180, async () => {
    const { items } = (await get("events", `--namespace=${namespace}`, selector)) as CoreV1EventList;
    expect(items.map(({ message }) => message).join("\n")).toMatch(reason);
  });
}

/**
 * Gives what ends it all. Pods with such volumes must be gone by then, as nobody else can unmount them.
 * @param azure - how the provider gets to Azure, as variables of its environment.
 */
export async function startDriver(azure: Readonly<Record<string, string>>): Promise<() => Promise<void>> {
  const manifests = await objects();
  await kubectlWith(manifests, "apply", "--server-side", "--force-conflicts", "--filename=-");
  await rm(sockets, { recursive: true, force: true });
  await mkdir(sockets, { recursive: true, mode: 0o700 });
  const endpoint = join(sockets, "csi.sock");
  const registration = inCluster("kubelet", "plugins_registry", "secrets-csi.sock");
  const log = createWriteStream(logFile);
  const start = (
    program: string,
    args: string[],
    env: Readonly<Record<string, string>> = {},
  ): ChildProcess => {
    const child = spawn(program, args, {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log, { end: false });
    return child;
  };
  const programs = environment("SECRETS_CSI");
  const started = [
    start(
      join(environment("KEYVAULT_PROVIDER"), "keyvault-provider"),
      [`--endpoint=unix://${join(sockets, "azure.sock")}`, "--construct-pem-chain=false"],
      azure,
    ),
    start(join(programs, "secrets-store-csi-driver"), [
      `--endpoint=unix://${endpoint}`,
      `--nodeid=${nodeName}`,
      `--provider-volume=${sockets}`,
      "--enable-secret-rotation",
      "--rotation-poll-interval=5s",
      "--metrics-addr=0",
    ]),
    start(join(programs, "register"), [driver, endpoint, registration]),
  ];
  const stop = async (): Promise<void> => {
    await rm(registration, { force: true });
    await Promise.all(
      started.map(async (child) => {
        if (child.exitCode !== null) return;
        const ended = once(child, "exit");
        child.kill();
        await ended;
      }),
    );
    log.end();
    await rm(sockets, { recursive: true, force: true });
    await kubectlWith(manifests, "delete", "--ignore-not-found", "--filename=-");
  };
  try {
    await waitFor("the driver known to the kubelet", 60, async () => {
      const { spec } = (await get("csinode", nodeName)) as V1CSINode;
      expect(spec.drivers.map(({ name }) => name)).toContain(driver);
    });
  } catch (error) {
    await stop();
    throw error;
  }
  return stop;
}
