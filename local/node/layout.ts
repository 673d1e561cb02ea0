/** Where the node's files are and which addresses it uses. */
import { join } from "node:path";
import { cacheDirectory } from "../system.ts";

export const nodeName = "groundwork";
export const contextName = "groundwork-node";
export const clusterDomain = "cluster.local";

/** All private and on this machine only: one interface's address, the pods', the Services'. */
export const network = {
  interface: "groundwork0",
  nodeAddress: "10.213.0.1",
  podCidr: "10.213.16.0/24",
  /** This machine as pods see it: the first address of theirs, on its end of each cable. */
  podGateway: "10.213.16.1",
  serviceCidr: "10.213.32.0/20",
  apiServiceAddress: "10.213.32.1",
  dnsServiceAddress: "10.213.32.10",
} as const;

export const ports = {
  api: 6443,
  kubelet: 10250,
  kubeletHealth: 10248,
  controllerManager: 10257,
  scheduler: 10259,
  proxyMetrics: 10249,
  proxyHealth: 10256,
  etcd: 2379,
  etcdPeer: 2380,
} as const;

/** Sockets and mounts have length and life-time limits of their own, so they are not in the cache directory. */
export const runtimeDirectory = "/run/groundwork";
export const containerdSocket = join(runtimeDirectory, "containerd.sock");
export const containerdState = join(runtimeDirectory, "containerd");
export const runcRoot = join(runtimeDirectory, "runc");
export const pidDirectory = join(runtimeDirectory, "pids");

export function clusterDirectory(): string {
  return join(cacheDirectory(), "cluster");
}

export function inCluster(...parts: string[]): string {
  return join(clusterDirectory(), ...parts);
}

export function kubeconfigPath(): string {
  return inCluster("kubeconfig");
}

export const apiServerUrl = `https://${network.nodeAddress}:${ports.api}`;
