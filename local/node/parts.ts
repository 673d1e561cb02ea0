/** The node's parts: what each runs as, in the order they depend on each other. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { configPath, partKubeconfig } from "./configuration.ts";
import { inCluster, network, nodeName, ports } from "./layout.ts";
import { pkiPath } from "./pki.ts";
import type { Part } from "./processes.ts";

/** Directories of the built programs. */
export interface Programs {
  readonly kubernetes: string;
  readonly etcd: string;
  readonly containerd: string;
}

export const partNames = [
  "containerd",
  "etcd",
  "kube-apiserver",
  "kube-controller-manager",
  "kube-scheduler",
  "kubelet",
  "kube-proxy",
  "keeper",
] as const;

export type PartName = (typeof partNames)[number];

/** Collect garbage early: ten processes share one small machine. */
const memory = (limitMiB: number): Record<string, string> => ({ GOMEMLIMIT: `${limitMiB}MiB`, GOGC: "50" });

const flags = (values: Readonly<Record<string, string>>): string[] =>
  Object.entries(values).map(([name, value]) => `--${name}=${value}`);

export function nodeParts(programs: Programs): Readonly<Record<PartName, Part>> {
  const kubernetes = (name: string): string => join(programs.kubernetes, name);
  return {
    containerd: {
      name: "containerd",
      command: join(programs.containerd, "containerd"),
      args: ["--config", configPath("containerd.toml"), "--log-level", "warn"],
      // It finds its shim on PATH.
      env: { ...memory(100), PATH: `${programs.containerd}:${systemPath()}` },
      files: [configPath("containerd.toml")],
    },
    etcd: etcd(join(programs.etcd, "etcd")),
    "kube-apiserver": apiServer(kubernetes("kube-apiserver")),
    "kube-controller-manager": controllerManager(kubernetes("kube-controller-manager")),
    "kube-scheduler": {
      name: "kube-scheduler",
      command: kubernetes("kube-scheduler"),
      args: flags({ ...client("kube-scheduler"), "secure-port": String(ports.scheduler) }),
      env: memory(80),
      files: [partKubeconfig("kube-scheduler")],
    },
    kubelet: {
      name: "kubelet",
      command: kubernetes("kubelet"),
      args: flags({
        config: configPath("kubelet.json"),
        kubeconfig: partKubeconfig("kubelet"),
        "root-dir": inCluster("kubelet"),
        "node-ip": network.nodeAddress,
        "hostname-override": nodeName,
      }),
      env: { ...memory(120), PATH: systemPath() },
      files: [configPath("kubelet.json"), partKubeconfig("kubelet"), pkiPath("kubelet-server.crt")],
    },
    "kube-proxy": {
      name: "kube-proxy",
      command: kubernetes("kube-proxy"),
      args: flags({ config: configPath("kube-proxy.json") }),
      env: { ...memory(60), PATH: systemPath() },
      files: [configPath("kube-proxy.json"), partKubeconfig("kube-proxy")],
    },
    keeper: {
      name: "keeper",
      command: process.execPath,
      args: ["--max-old-space-size=64", fileURLToPath(new URL("keeper.ts", import.meta.url))],
      env: { PATH: systemPath() },
      files: [pkiPath("keeper.crt"), ...["keeper.ts", "volumes.ts", "policies.ts", "api.ts"].map(ownSource)],
    },
  };
}

function ownSource(file: string): string {
  return join(import.meta.dirname, file);
}

/** mount, iptables, ip and mkfs are in directories that a user's PATH may leave out. */
function systemPath(): string {
  return `${process.env["PATH"] ?? ""}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin`;
}

function etcd(command: string): Part {
  const clientUrl = `https://127.0.0.1:${ports.etcd}`;
  const peerUrl = `https://127.0.0.1:${ports.etcdPeer}`;
  const tls = {
    "cert-file": pkiPath("etcd.crt"),
    "key-file": pkiPath("etcd.key"),
    "trusted-ca-file": pkiPath("etcd-ca.crt"),
  };
  const args = flags({
    name: nodeName,
    "data-dir": inCluster("etcd"),
    "listen-client-urls": clientUrl,
    "advertise-client-urls": clientUrl,
    "listen-peer-urls": peerUrl,
    "initial-advertise-peer-urls": peerUrl,
    "initial-cluster": `${nodeName}=${peerUrl}`,
    ...tls,
    "client-cert-auth": "true",
    ...Object.fromEntries(Object.entries(tls).map(([name, file]) => [`peer-${name}`, file])),
    "peer-client-cert-auth": "true",
    "quota-backend-bytes": String(512 * 1024 * 1024),
    "log-level": "warn",
    // A development cluster: what a power failure loses, `make up` makes again.
    "unsafe-no-fsync": "true",
  });
  return {
    name: "etcd",
    command,
    args,
    env: memory(120),
    files: [pkiPath("etcd.crt"), pkiPath("etcd-ca.crt")],
  };
}

function apiServer(command: string): Part {
  const files = {
    "client-ca-file": pkiPath("cluster-ca.crt"),
    "tls-cert-file": pkiPath("kube-apiserver.crt"),
    "tls-private-key-file": pkiPath("kube-apiserver.key"),
    "kubelet-certificate-authority": pkiPath("cluster-ca.crt"),
    "kubelet-client-certificate": pkiPath("kube-apiserver-kubelet-client.crt"),
    "kubelet-client-key": pkiPath("kube-apiserver-kubelet-client.key"),
    "etcd-cafile": pkiPath("etcd-ca.crt"),
    "etcd-certfile": pkiPath("kube-apiserver-etcd-client.crt"),
    "etcd-keyfile": pkiPath("kube-apiserver-etcd-client.key"),
    "proxy-client-cert-file": pkiPath("front-proxy-client.crt"),
    "proxy-client-key-file": pkiPath("front-proxy-client.key"),
    "requestheader-client-ca-file": pkiPath("front-proxy-ca.crt"),
    "service-account-key-file": pkiPath("service-accounts.pub"),
    "service-account-signing-key-file": pkiPath("service-accounts.key"),
    "encryption-provider-config": pkiPath("encryption.json"),
  };
  const args = flags({
    ...files,
    "bind-address": network.nodeAddress,
    "advertise-address": network.nodeAddress,
    "secure-port": String(ports.api),
    "etcd-servers": `https://127.0.0.1:${ports.etcd}`,
    "service-cluster-ip-range": network.serviceCidr,
    "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
    "authorization-mode": "Node,RBAC",
    "enable-admission-plugins": "NodeRestriction,PodSecurity",
    "anonymous-auth": "false",
    "tls-min-version": "VersionTLS12",
    // The node's name resolves nowhere.
    "kubelet-preferred-address-types": "InternalIP",
    "requestheader-allowed-names": "front-proxy-client",
    "requestheader-extra-headers-prefix": "X-Remote-Extra-",
    "requestheader-group-headers": "X-Remote-Group",
    "requestheader-username-headers": "X-Remote-User",
    // Metrics adapters run as pods, and Service addresses are reachable from this process.
    "enable-aggregator-routing": "true",
    profiling: "false",
  });
  return { name: "kube-apiserver", command, args, env: memory(380), files: Object.values(files) };
}

function controllerManager(command: string): Part {
  const args = flags({
    ...client("kube-controller-manager"),
    "secure-port": String(ports.controllerManager),
    "use-service-account-credentials": "true",
    "service-account-private-key-file": pkiPath("service-accounts.key"),
    "root-ca-file": pkiPath("cluster-ca.crt"),
    "cluster-signing-cert-file": pkiPath("cluster-ca.crt"),
    "cluster-signing-key-file": pkiPath("cluster-ca.key"),
    "allocate-node-cidrs": "true",
    "cluster-cidr": network.podCidr,
    "service-cluster-ip-range": network.serviceCidr,
    "terminated-pod-gc-threshold": "50",
  });
  const files = [partKubeconfig("kube-controller-manager"), pkiPath("cluster-ca.crt")];
  return { name: "kube-controller-manager", command, args, env: memory(130), files };
}

function client(part: string): Record<string, string> {
  const kubeconfig = partKubeconfig(part);
  return {
    kubeconfig,
    "authentication-kubeconfig": kubeconfig,
    "authorization-kubeconfig": kubeconfig,
    "bind-address": "127.0.0.1",
    // There is only ever one, and an election would delay each start.
    "leader-elect": "false",
    profiling: "false",
  };
}
