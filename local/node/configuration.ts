/** The configuration files that the node's parts read, written anew at every start. */
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import {
  apiServerUrl,
  clusterDomain,
  containerdSocket,
  containerdState,
  contextName,
  inCluster,
  kubeconfigPath,
  network,
  nodeName,
  ports,
  runcRoot,
} from "./layout.ts";
import { readIfPresent } from "../system.ts";
import { pkiPath, writeKubeconfig } from "./pki.ts";

export const configPath = (file: string): string => inCluster("config", file);
export const partKubeconfig = (part: string): string => configPath(`${part}.kubeconfig`);

export interface BuiltParts {
  /** Absolute path of the runc program. */
  readonly runc: string;
  /** Reference of the image that holds a pod's namespaces. */
  readonly pauseImage: string;
}

export async function writeConfiguration({ runc, pauseImage }: BuiltParts): Promise<void> {
  for (const part of ["kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet"]) {
    await writeKubeconfig(partKubeconfig(part), part, apiServerUrl, contextName);
  }
  await writeKubeconfig(kubeconfigPath(), "admin", apiServerUrl, contextName);
  const template = await readFile(join(import.meta.dirname, "manifests", "containerd.toml"), "utf8");
  const values: Readonly<Record<string, string>> = {
    root: inCluster("containerd"),
    state: containerdState,
    socket: containerdSocket,
    cni: inCluster("config", "cni"),
    pause: pauseImage,
    runc,
    runcRoot,
  };
  const filled = template.replace(/\{\{(\w+)\}\}/g, (_, name: string) => values[name] ?? "");
  await write(configPath("containerd.toml"), filled);
  await write(configPath("cni/10-groundwork.conflist"), JSON.stringify(podNetwork(), undefined, 2));
  await write(configPath("kubelet.json"), JSON.stringify(kubelet(), undefined, 2));
  await write(configPath("kube-proxy.json"), JSON.stringify(kubeProxy(), undefined, 2));
}

/** A file that says the same already is left alone: kube-proxy ends when its own is written. */
async function write(path: string, text: string): Promise<void> {
  if ((await readIfPresent(path)) === text) return;
  await mkdir(dirname(path), { recursive: true });
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
}

/** Point-to-point links, as a bridge would switch pods' traffic past the filters that enforce network policies. */
function podNetwork(): object {
  const ipam = {
    type: "host-local",
    dataDir: inCluster("cni"),
    ranges: [[{ subnet: network.podCidr }]],
    routes: [{ dst: "0.0.0.0/0" }],
  };
  return { cniVersion: "1.0.0", name: "groundwork", plugins: [{ type: "ptp", ipMasq: false, ipam }] };
}

function kubelet(): object {
  return {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    address: network.nodeAddress,
    port: ports.kubelet,
    readOnlyPort: 0,
    healthzBindAddress: "127.0.0.1",
    healthzPort: ports.kubeletHealth,
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: pkiPath("cluster-ca.crt") },
    },
    authorization: { mode: "Webhook" },
    tlsCertFile: pkiPath("kubelet-server.crt"),
    tlsPrivateKeyFile: pkiPath("kubelet-server.key"),
    tlsMinVersion: "VersionTLS12",
    clusterDomain,
    clusterDNS: [network.dnsServiceAddress],
    // Pods resolve the cluster's names only, and inherit no search domains of this machine.
    resolvConf: "",
    containerRuntimeEndpoint: `unix://${containerdSocket}`,
    cgroupDriver: "cgroupfs",
    failCgroupV1: false,
    failSwapOn: false,
    seccompDefault: true,
    maxPods: 60,
    podPidsLimit: 2048,
    podLogsDir: inCluster("pod-logs"),
    volumePluginDir: inCluster("kubelet", "volume-plugins"),
    containerLogMaxSize: "10Mi",
    containerLogMaxFiles: 3,
    // Images cannot be fetched again, so only make pods leave when the disk is truly short.
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
    evictionHard: {
      "memory.available": "100Mi",
      "nodefs.available": "1Gi",
      "nodefs.inodesFree": "1%",
      "imagefs.available": "1Gi",
    },
    makeIPTablesUtilChains: false,
    oomScoreAdj: 0,
    nodeStatusUpdateFrequency: "5s",
    nodeStatusReportFrequency: "1m",
    logging: { verbosity: 1 },
  };
}

function kubeProxy(): object {
  return {
    apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
    kind: "KubeProxyConfiguration",
    mode: "iptables",
    // The mode whose node ports answer on 127.0.0.1 too; they answer on no address that others can reach.
    iptables: { localhostNodePorts: true, minSyncPeriod: "500ms" },
    nodePortAddresses: ["127.0.0.0/8", `${network.nodeAddress}/32`],
    clusterCIDR: network.podCidr,
    hostnameOverride: nodeName,
    healthzBindAddress: `127.0.0.1:${ports.proxyHealth}`,
    metricsBindAddress: `127.0.0.1:${ports.proxyMetrics}`,
    clientConnection: { kubeconfig: partKubeconfig("kube-proxy") },
    conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: "0s", tcpCloseWaitTimeout: "0s" },
    oomScoreAdj: 0,
  };
}
