/**
 * Who may reach whom, written down a second time and by hand. The rules of a stack's network policies are compared with
 * it as a whole, so that one too many or too wide is seen, whichever file it comes from.
 */
import { isDeepStrictEqual } from "node:util";

import { at, ofType, type Registered } from "./mocks.ts";

/** What every policy of a stack lets in and out, as lines such as `app -> postgres:5432`. */
interface Rules {
  readonly ingress: readonly string[];
  readonly egress: readonly string[];
}

/** Namespace → whose pods are in it. */
const inhabitants: Readonly<Record<string, string>> = {
  edge: "edge",
  app: "app app-candidate app-migrate worker",
  data:
    "postgres redis-queue redis-cache azurite " +
    "backup backup-base backup-verify backup-retention backup-restore backup-exporter",
  monitoring: "prometheus alertmanager blackbox prober node-exporter grafana loki jaeger trace-gateway",
  "node-agents": "log-agent",
};

/** Who may reach port 443 of every address: for Azure, for vendors of models, and for an API server of unknown address. */
const outward =
  "worker backup backup-base backup-verify backup-retention backup-restore backup-exporter postgres prometheus";

/** Receiver → port → who may reach it there; `anywhere` is every IPv4 address. */
const reached: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  edge: { "8443": "anywhere blackbox prober", "8080": "anywhere", "9113": "prometheus" },
  app: { "3000": "edge prober", "9464": "prometheus" },
  "app-candidate": { "3000": "edge prober", "9464": "prometheus" },
  worker: { "9464": "prometheus" },
  postgres: {
    "5432": "app app-candidate app-migrate worker backup backup-base backup-restore postgres prober",
    "8008": "postgres prometheus",
    "9187": "prometheus",
  },
  "redis-queue": {
    "6379": "app app-candidate worker redis-queue prober",
    "26379": "app app-candidate worker redis-queue",
    "9121": "prometheus",
  },
  "redis-cache": { "6379": "app app-candidate worker prober", "9121": "prometheus" },
  azurite: {
    "10000":
      "postgres backup backup-base backup-verify backup-retention backup-restore backup-exporter prober",
  },
  "backup-exporter": { "9469": "prometheus" },
  prometheus: { "9090": "prometheus grafana keda" },
  alertmanager: { "9093": "prometheus", "9094": "alertmanager", "9094/UDP": "alertmanager" },
  blackbox: { "9115": "prometheus" },
  prober: { "9470": "prometheus" },
  "node-exporter": { "9100": "prometheus" },
  loki: { "3100": "grafana log-agent prometheus" },
  jaeger: { "16686": "grafana", "4318": "trace-gateway", "8888": "prometheus" },
  "trace-gateway": { "4317": "trace-gateway", "4318": "app app-candidate worker", "8888": "prometheus" },
  "log-agent": { "8888": "prometheus" },
  // 6443 is the API server's other port, 10250 the kubelets'.
  anywhere: { "443": outward, "6443": "postgres prometheus", "10250": "prometheus" },
};

const namespaces = ["edge", "app", "data", "monitoring"];

/** What the policies of the committed stacks are to say. */
export const allowed: Readonly<Record<"dev" | "prod", Rules>> = {
  dev: rulesOf(namespaces, reached),
  // It collects logs, looks at its public name and into the vault, and tells people of alerts.
  prod: rulesOf([...namespaces, "node-agents"], {
    ...reached,
    anywhere: { ...reached["anywhere"], "443": `${outward} prober alertmanager` },
  }),
};

/** Both ends' rules where these namespaces are closed; who lives in another has no policy. */
function rulesOf(closed: readonly string[], table: typeof reached): Rules {
  const here = new Set(closed.flatMap((namespace) => inhabitants[namespace]?.split(" ") ?? []));
  const pairs = Object.entries(table).flatMap(([to, ports]) =>
    Object.entries(ports).flatMap(([port, senders]) =>
      senders.split(" ").map((from) => ({ from, to, line: `${from} -> ${to}:${port}` })),
    ),
  );
  const lookups = closed.flatMap((namespace) =>
    ["53", "53/UDP"].map((port) => `every pod of ${namespace} -> kube-dns:${port}`),
  );
  const sent = pairs.filter(({ from }) => here.has(from)).map(({ line }) => line);
  return {
    ingress: pairs
      .filter(({ to }) => here.has(to))
      .map(({ line }) => line)
      .toSorted(),
    egress: [...sent, ...lookups].toSorted(),
  };
}

interface Rule {
  readonly from?: readonly unknown[];
  readonly to?: readonly unknown[];
  readonly ports?: readonly unknown[];
}

/** What the policies do say. A form that is not known here is shown as it is, which is no line of the table. */
export function rendered(resources: readonly Registered[]): Rules {
  const lines = (direction: "ingress" | "egress"): string[] => {
    const found = ofType(resources, ":NetworkPolicy").flatMap((policy) => {
      const subject = subjectOf(policy);
      const rules = (at(policy, `spec.${direction}`) ?? []) as readonly Rule[];
      return rules.flatMap((rule) => {
        const named = listed(direction === "ingress" ? rule.from : rule.to).map(peerName);
        return named.flatMap((peer) =>
          listed(rule.ports).map((port) =>
            direction === "ingress"
              ? `${peer} -> ${subject}:${portName(port)}`
              : `${subject} -> ${peer}:${portName(port)}`,
          ),
        );
      });
    });
    return [...new Set(found)].toSorted();
  };
  return { ingress: lines("ingress"), egress: lines("egress") };
}

/** What a rule names; Kubernetes takes none, or an empty list, for all there is. */
function listed(given: readonly unknown[] = []): readonly unknown[] {
  return given.length > 0 ? given : ["*"];
}

const inNamespace = (name: string) => ({
  namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": name } },
});
const ofWorkload = (name: string) => ({ podSelector: { matchLabels: { "app.kubernetes.io/name": name } } });

const peers: readonly (readonly [string, object])[] = [
  ...Object.entries(inhabitants).flatMap(([namespace, names]) =>
    names.split(" ").map((name) => [name, { ...inNamespace(namespace), ...ofWorkload(name) }] as const),
  ),
  ["kube-dns", { ...inNamespace("kube-system"), podSelector: { matchLabels: { "k8s-app": "kube-dns" } } }],
  ["keda", inNamespace("keda")],
  ["anywhere", { ipBlock: { cidr: "0.0.0.0/0" } }],
];

function peerName(peer: unknown): string {
  return peers.find(([, form]) => isDeepStrictEqual(form, peer))?.[0] ?? JSON.stringify(peer);
}

function portName(port: unknown): string {
  const { port: number, protocol } = port as { port?: unknown; protocol?: unknown };
  if (!isDeepStrictEqual(port, { port: number, protocol })) return JSON.stringify(port);
  return protocol === "TCP" ? String(number) : `${String(number)}/${String(protocol)}`;
}

/** Whose pods a policy is about, as it says itself. */
function subjectOf(policy: Registered): string {
  const namespace = String(at(policy, "metadata.namespace"));
  const selected = at(policy, "spec.podSelector");
  if (isDeepStrictEqual(selected, {})) return `every pod of ${namespace}`;
  return peerName({ ...inNamespace(namespace), podSelector: selected });
}
