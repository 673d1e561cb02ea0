/** Enforces NetworkPolicies between the pods of this node, by iptables: what is not allowed is dropped, as elsewhere. */
import { setTimeout as sleep } from "node:timers/promises";
import { run, tryRun } from "../system.ts";
import type { Api, KubernetesObject } from "./api.ts";

/** Every new connection from and to a pod passes here; its rules lead to one chain for each set of rules. */
export const policyChain = "GROUNDWORK-POLICY";
const prefix = `${policyChain}-`;

export interface Pod extends KubernetesObject {
  readonly spec?: { readonly hostNetwork?: boolean };
  readonly status?: { readonly phase?: string; readonly podIP?: string };
}

interface Selector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly {
    readonly key: string;
    readonly operator: string;
    readonly values?: readonly string[];
  }[];
}

interface Peer {
  readonly podSelector?: Selector;
  readonly namespaceSelector?: Selector;
  readonly ipBlock?: { readonly cidr: string; readonly except?: readonly string[] };
}

interface Port {
  readonly protocol?: string;
  readonly port?: number | string;
  readonly endPort?: number;
}

export interface Policy extends KubernetesObject {
  readonly spec: {
    readonly podSelector: Selector;
    readonly policyTypes?: readonly string[];
    readonly ingress?: readonly { readonly from?: readonly Peer[]; readonly ports?: readonly Port[] }[];
    readonly egress?: readonly { readonly to?: readonly Peer[]; readonly ports?: readonly Port[] }[];
  };
}

export interface Policed {
  readonly pods: readonly Pod[];
  readonly namespaces: readonly KubernetesObject[];
  readonly policies: readonly Policy[];
}

/** One rule of a policy: who is at the other end (nobody named: anybody), on which ports of the receiving pod (none: all). */
interface Allowed {
  readonly peers: readonly Peer[] | undefined;
  readonly ports: readonly Port[] | undefined;
}

const directions = [
  {
    type: "Ingress",
    flags: { pod: "-d", peer: "-s" },
    rules: ({ spec }: Policy): Allowed[] =>
      (spec.ingress ?? []).map(({ from, ports }) => ({ peers: from, ports })),
  },
  {
    type: "Egress",
    flags: { pod: "-s", peer: "-d" },
    rules: ({ spec }: Policy): Allowed[] =>
      (spec.egress ?? []).map(({ to, ports }) => ({ peers: to, ports })),
  },
] as const;

/**
 * What iptables-restore is given, without table and COMMIT. A pod that no policy selects in a direction is open in it.
 * @throws on what these rules do not speak of (named ports, `ipBlock.except`): better no change than a wrong one.
 */
export function policyRules({ policies, namespaces, pods: all }: Policed): string[] {
  const pods = all.filter(isOnNetwork);
  const chains = new Map<string, { readonly name: string; readonly matches: readonly string[] }>();
  const jumps: string[] = [];
  for (const { type, flags, rules } of directions)
    for (const pod of pods) {
      const selecting = policies.filter(
        (policy) => typesOf(policy).includes(type) && isSelected(policy, pod),
      );
      if (selecting.length === 0) continue;
      const allowed = selecting.flatMap((policy) =>
        rules(policy).flatMap(({ peers, ports }) =>
          addressesOf(peers, policy, pods, namespaces).flatMap((address) =>
            matchesOf(ports).map((port) => `${address && ` ${flags.peer} ${address}`}${port}`),
          ),
        ),
      );
      const matches = [...new Set(allowed)].sort();
      const key = JSON.stringify(matches);
      const chain = chains.get(key) ?? { name: `${prefix}${chains.size}`, matches };
      chains.set(key, chain);
      jumps.push(`-A ${policyChain} ${flags.pod} ${pod.status?.podIP ?? ""} -j ${chain.name}`);
    }
  const made = [...chains.values()];
  return [
    ...[policyChain, ...made.map(({ name }) => name)].map((name) => `:${name} - [0:0]`),
    `-A ${policyChain} -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN`,
    ...jumps,
    ...made.flatMap(({ name, matches }) => [
      ...matches.map((match) => `-A ${name}${match} -j RETURN`),
      `-A ${name} -j DROP`,
    ]),
  ];
}

function isOnNetwork({ spec, status }: Pod): boolean {
  const isAlive = status?.phase === "Running" || status?.phase === "Pending";
  return isAlive && status.podIP !== undefined && spec?.hostNetwork !== true;
}

function typesOf({ spec }: Policy): readonly string[] {
  return spec.policyTypes ?? (spec.egress ? ["Ingress", "Egress"] : ["Ingress"]);
}

function isSelected({ metadata, spec }: Policy, pod: Pod): boolean {
  return pod.metadata.namespace === metadata.namespace && selects(spec.podSelector, pod);
}

/** Addresses or blocks of the peers; one empty one where anybody may be. */
function addressesOf(
  peers: readonly Peer[] | undefined,
  policy: Policy,
  pods: readonly Pod[],
  namespaces: readonly KubernetesObject[],
): string[] {
  if (peers === undefined || peers.length === 0) return [""];
  return peers.flatMap(({ ipBlock, namespaceSelector, podSelector = {} }) => {
    if (ipBlock) {
      if (ipBlock.except?.length)
        throw new Error(`NetworkPolicy ${policy.metadata.name}: ipBlock.except is not enforced here`);
      return [ipBlock.cidr];
    }
    const within = new Set(
      namespaceSelector === undefined
        ? [policy.metadata.namespace]
        : namespaces.filter((one) => selects(namespaceSelector, one)).map(({ metadata }) => metadata.name),
    );
    return pods
      .filter((pod) => within.has(pod.metadata.namespace) && selects(podSelector, pod))
      .flatMap(({ status }) => status?.podIP ?? []);
  });
}

function matchesOf(ports: readonly Port[] | undefined): string[] {
  if (ports === undefined || ports.length === 0) return [""];
  return ports.map(({ protocol = "TCP", port, endPort }) => {
    if (typeof port === "string")
      throw new Error(`The port ${port} of a NetworkPolicy has a name: numbers only here`);
    const range = port === undefined ? "" : ` --dport ${port}${endPort === undefined ? "" : `:${endPort}`}`;
    return ` -p ${protocol.toLowerCase()}${range}`;
  });
}

function selects(
  { matchLabels = {}, matchExpressions = [] }: Selector,
  { metadata }: KubernetesObject,
): boolean {
  const labels = metadata.labels ?? {};
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(({ key, operator, values = [] }) => {
      const value = labels[key];
      const isListed = value !== undefined && values.includes(value);
      if (operator === "In") return isListed;
      if (operator === "NotIn") return !isListed;
      return (operator === "Exists") === (value !== undefined);
    })
  );
}

const sources = {
  pods: "/api/v1/pods",
  namespaces: "/api/v1/namespaces",
  policies: "/apis/networking.k8s.io/v1/networkpolicies",
} as const;
const syncMilliseconds = 10_000;

/** Keeps the rules as the API server's objects are: after each change at once, and now and then anyway. Never returns. */
export async function keepPolicies(api: Api, report: (error?: unknown) => void): Promise<never> {
  let ring = (): void => undefined;
  for (const path of Object.values(sources))
    void watchForEver(api, path, () => {
      ring();
    });
  let known = "";
  for (;;) {
    const rung = new Promise<void>((resolve) => (ring = resolve));
    try {
      const [pods, namespaces, policies] = await Promise.all([
        list<Pod>(api, sources.pods),
        list<KubernetesObject>(api, sources.namespaces),
        list<Policy>(api, sources.policies),
      ]);
      const rules = policyRules({ pods, namespaces, policies });
      if (rules.join("\n") !== known) await install(rules);
      known = rules.join("\n");
      report();
    } catch (error) {
      report(error);
    }
    await Promise.race([rung, sleep(syncMilliseconds)]);
  }
}

async function list<T>(api: Api, path: string): Promise<readonly T[]> {
  return (await api.get<{ readonly items: readonly T[] }>(path)).items;
}

async function watchForEver(api: Api, path: string, ring: () => void): Promise<never> {
  for (;;) {
    await api.watch(path, ring).catch(() => undefined);
    await sleep(1000);
  }
}

/** One transaction: connections never see the rules half made. Chains that nothing leads to any more go with it. */
async function install(rules: readonly string[]): Promise<void> {
  const stale = (await policyChains()).filter((name) => !rules.includes(`:${name} - [0:0]`));
  const lines = ["*filter", ...rules, ...stale.flatMap((name) => [`-F ${name}`, `-X ${name}`]), "COMMIT"];
  await run("iptables-restore", ["-w", "--noflush"], { input: `${lines.join("\n")}\n` });
}

/** Those for one set of rules each, that are there now. */
export async function policyChains(): Promise<string[]> {
  const rules = (await tryRun("iptables", ["-w", "-S"])) ?? "";
  return [...rules.matchAll(/^-N (\S+)$/gm)].flatMap(([, name = ""]) =>
    name.startsWith(prefix) ? [name] : [],
  );
}
