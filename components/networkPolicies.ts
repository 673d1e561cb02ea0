import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { labels, selector } from "./podDefaults.ts";
import type { NamespaceName, Namespaces } from "./types.ts";

type Peer = k8s.types.input.networking.v1.NetworkPolicyPeer;
type Rules = Pick<k8s.types.input.networking.v1.NetworkPolicySpec, "ingress" | "egress">;

/** The namespace that a workload's pods run in. */
export type Workload = NamespaceName;

/**
 * One allowed connection, from a workload's pods to another's; `internet` is any address, `apiServer` the cluster's own,
 * `nodes` those of the kubelets, `privateNetwork` what is around the cluster;
 * `ingressController`, `existingPrometheus` and `keda` any pod of the namespace
 * where that is.
 */
export interface Flow<Name extends string> {
  readonly from: Name | "internet" | "ingressController" | "existingPrometheus" | "keda";
  readonly to: Name | "internet" | "apiServer" | "nodes" | "privateNetwork" | "existingPrometheus";
  /** Port of the pod that is reached, not of a Service before it. */
  readonly port: number;
  /** Default TCP. */
  readonly protocol?: "TCP" | "UDP";
}

export interface NetworkPoliciesArgs<Name extends string> {
  /** The namespaces to close. */
  readonly namespaces: Namespaces;
  /** Workload → namespace. */
  readonly workloads: Readonly<Record<Name, Workload>>;
  /** Every allowed connection. */
  readonly flows: readonly Flow<Name>[];
  /** Addresses of the API server as CIDRs, as they are behind its Service. */
  readonly apiServerCidrs: readonly string[];
  /** Whether Cilium enforces them: addresses then match no node, nor an API server on one, which takes a policy of its own kind. */
  readonly cilium: boolean;
  /** Namespaces of what the stack has not made; only for flows from there or to there. */
  readonly others?: {
    readonly ingressController?: string | undefined;
    readonly existingPrometheus?: string | undefined;
  };
}

/** Closes every namespace in both directions and opens just the listed flows, one policy for each workload. */
export class NetworkPolicies extends pulumi.ComponentResource {
  constructor(name: string, args: NetworkPoliciesArgs<string>, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:cluster:NetworkPolicies", name, {}, opts);
    const policy = (
      resourceName: string,
      policyName: string,
      namespace: pulumi.Output<string>,
      spec: k8s.types.input.networking.v1.NetworkPolicySpec,
    ) =>
      new k8s.networking.v1.NetworkPolicy(
        resourceName,
        {
          metadata: {
            name: policyName,
            namespace,
            labels: labels(policyName, "network-policy"),
          },
          spec,
        },
        { parent: this },
      );

    const namespaces: Partial<Record<string, pulumi.Output<string>>> = { ...args.namespaces };
    for (const [key, namespace] of Object.entries(namespaces)) {
      if (namespace === undefined) continue;
      policy(`${key}-default-deny`, "default-deny", namespace, {
        podSelector: {},
        policyTypes: ["Ingress", "Egress"],
        egress: [dns],
      });
    }
    for (const [workload, key] of Object.entries(args.workloads)) {
      const namespace = namespaces[key];
      // Its namespace is left out of this stack, and so is the workload.
      if (namespace === undefined) continue;
      policy(`${workload}-flows`, `${workload}-flows`, namespace, {
        podSelector: { matchLabels: selector(workload) },
        policyTypes: ["Ingress", "Egress"],
        ...rulesOf(workload, args),
      });
      const egress = args.cilium ? clusterEgress(workload, args.flows) : [];
      if (egress.length > 0) {
        const policyName = `${workload}-cluster`;
        new k8s.apiextensions.CustomResource(
          policyName,
          {
            apiVersion: "cilium.io/v2",
            kind: "CiliumNetworkPolicy",
            metadata: { name: policyName, namespace, labels: labels(policyName, "network-policy") },
            spec: { endpointSelector: { matchLabels: selector(workload) }, egress },
          },
          { parent: this },
        );
      }
    }
    this.registerOutputs();
  }
}

/** Where private endpoints have their addresses. */
const privateNetworks = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];

/** Name resolution, which every pod needs. */
const dns: k8s.types.input.networking.v1.NetworkPolicyEgressRule = {
  to: [
    {
      namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "kube-system" } },
      podSelector: { matchLabels: { "k8s-app": "kube-dns" } },
    },
  ],
  ports: [
    { protocol: "UDP", port: 53 },
    { protocol: "TCP", port: 53 },
  ],
};

/** What Cilium matches by no address, unless its `policy-cidr-match-mode` says so, but by these names. */
const ciliumEntities = {
  // The pod's own node, and the others.
  nodes: ["host", "remote-node"],
  // Wherever it runs; on nodes it is no address, either.
  apiServer: ["kube-apiserver"],
};

/** What the pods of `workload` may reach of the cluster itself, as Cilium writes it. */
function clusterEgress(workload: string, flows: readonly Flow<string>[]) {
  return Object.entries(ciliumEntities).flatMap(([name, toEntities]) => {
    const ports = flows
      .filter(({ from, to }) => from === workload && to === name)
      .map(({ port, protocol = "TCP" }) => ({ port: String(port), protocol }));
    return ports.length > 0 ? [{ toEntities, toPorts: [{ ports }] }] : [];
  });
}

/** What the pods of `workload` may receive and send, in Kubernetes' own kind of policy. */
export function rulesOf(workload: string, args: Omit<NetworkPoliciesArgs<string>, "namespaces">): Rules {
  const peers = (name: string): Peer[] => {
    // The addresses of nodes are known to nobody beforehand.
    if (name === "internet" || name === "nodes") return [{ ipBlock: { cidr: "0.0.0.0/0" } }];
    if (name === "privateNetwork") return privateNetworks.map((cidr) => ({ ipBlock: { cidr } }));
    if (name === "apiServer") return args.apiServerCidrs.map((cidr) => ({ ipBlock: { cidr } }));
    const inNamespace = (label: string) => ({ matchLabels: { "kubernetes.io/metadata.name": label } });
    // The namespace that KEDA is installed in by its own instructions.
    const others: Partial<Record<string, string>> = { ...args.others, keda: "keda" };
    const other = others[name];
    if (other !== undefined) return [{ namespaceSelector: inNamespace(other) }];
    const namespace = args.workloads[name];
    if (!namespace)
      throw new Error(`flow names the unknown workload "${name}"; add it to the workloads beside it`);
    return [
      {
        namespaceSelector: inNamespace(namespace),
        podSelector: { matchLabels: selector(name) },
      },
    ];
  };
  const ports = (flow: Flow<string>) => [{ protocol: flow.protocol ?? "TCP", port: flow.port }];
  return {
    ingress: args.flows
      .filter((flow) => flow.to === workload)
      .map((flow) => ({ from: peers(flow.from), ports: ports(flow) })),
    egress: args.flows
      .filter((flow) => flow.from === workload && !(args.cilium && flow.to === "nodes"))
      .map((flow) => ({ to: peers(flow.to), ports: ports(flow) })),
  };
}
