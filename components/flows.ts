import { ownContainer, type AppContainer } from "./appContainer.ts";
import { settingsFlows } from "./appSettings.ts";
import type { StackValues } from "./configSchema.ts";
import { notificationPorts, remoteWritePorts } from "./monitoring/settings.ts";
import type { Flow, Workload } from "./networkPolicies.ts";

/** Every workload of the stack that a network policy names, and its namespace. */
export const workloads = {
  edge: "edge",
  app: "app",
  "app-candidate": "app",
  "app-migrate": "app",
  worker: "app",
  postgres: "data",
  "redis-queue": "data",
  "redis-cache": "data",
  azurite: "data",
  backup: "data",
  "backup-base": "data",
  "backup-verify": "data",
  "backup-retention": "data",
  "backup-restore": "data",
  "backup-exporter": "data",
  prometheus: "monitoring",
  alertmanager: "monitoring",
  blackbox: "monitoring",
  prober: "monitoring",
  "node-exporter": "monitoring",
  grafana: "monitoring",
  loki: "monitoring",
  jaeger: "monitoring",
  "trace-gateway": "monitoring",
  "log-agent": "node-agents",
} as const satisfies Record<string, Workload>;

type StackFlow = Flow<keyof typeof workloads>;

const listed: readonly StackFlow[] = [
  { from: "internet", to: "edge", port: 8443 },
  { from: "internet", to: "edge", port: 8080 },
  { from: "edge", to: "app", port: 3000 },
  { from: "app", to: "postgres", port: 5432 },
  { from: "app", to: "redis-queue", port: 6379 },
  { from: "app", to: "redis-queue", port: 26379 },
  { from: "app", to: "redis-cache", port: 6379 },
  { from: "worker", to: "postgres", port: 5432 },
  { from: "worker", to: "redis-queue", port: 6379 },
  { from: "worker", to: "redis-queue", port: 26379 },
  { from: "worker", to: "redis-cache", port: 6379 },
  { from: "worker", to: "internet", port: 443 },
  { from: "redis-queue", to: "redis-queue", port: 6379 },
  { from: "redis-queue", to: "redis-queue", port: 26379 },
  { from: "app-migrate", to: "postgres", port: 5432 },
  { from: "postgres", to: "postgres", port: 5432 },
  { from: "postgres", to: "postgres", port: 8008 },
  { from: "postgres", to: "apiServer", port: 443 },
  { from: "postgres", to: "apiServer", port: 6443 },
  { from: "postgres", to: "azurite", port: 10000 },
  { from: "backup", to: "postgres", port: 5432 },
  { from: "backup-base", to: "postgres", port: 5432 },
  { from: "backup-base", to: "azurite", port: 10000 },
  { from: "backup", to: "azurite", port: 10000 },
  { from: "backup-verify", to: "azurite", port: 10000 },
  { from: "backup-retention", to: "azurite", port: 10000 },
  { from: "backup-restore", to: "azurite", port: 10000 },
  { from: "backup-restore", to: "postgres", port: 5432 },
  { from: "backup-exporter", to: "azurite", port: 10000 },
  { from: "backup", to: "internet", port: 443 },
  { from: "backup-base", to: "internet", port: 443 },
  { from: "backup-verify", to: "internet", port: 443 },
  { from: "backup-retention", to: "internet", port: 443 },
  { from: "backup-restore", to: "internet", port: 443 },
  { from: "backup-exporter", to: "internet", port: 443 },
  { from: "prometheus", to: "app", port: 9464 },
  { from: "prometheus", to: "worker", port: 9464 },
  { from: "prometheus", to: "postgres", port: 8008 },
  { from: "prometheus", to: "postgres", port: 9187 },
  { from: "prometheus", to: "redis-queue", port: 9121 },
  { from: "prometheus", to: "redis-cache", port: 9121 },
  { from: "prometheus", to: "backup-exporter", port: 9469 },
  { from: "prometheus", to: "alertmanager", port: 9093 },
  { from: "alertmanager", to: "alertmanager", port: 9094 },
  { from: "alertmanager", to: "alertmanager", port: 9094, protocol: "UDP" },
  { from: "prometheus", to: "prometheus", port: 9090 },
  { from: "prometheus", to: "edge", port: 9113 },
  { from: "prometheus", to: "blackbox", port: 9115 },
  { from: "blackbox", to: "edge", port: 8443 },
  { from: "prometheus", to: "prober", port: 9470 },
  { from: "prometheus", to: "node-exporter", port: 9100 },
  { from: "prober", to: "edge", port: 8443 },
  // By which it sees the certificates of what runs inside.
  { from: "prober", to: "app", port: 3000 },
  { from: "prober", to: "postgres", port: 5432 },
  { from: "prober", to: "redis-queue", port: 6379 },
  { from: "prober", to: "redis-cache", port: 6379 },
  { from: "prober", to: "azurite", port: 10000 },
  { from: "prometheus", to: "apiServer", port: 443 },
  { from: "prometheus", to: "apiServer", port: 6443 },
  { from: "prometheus", to: "nodes", port: 10250 },
  { from: "grafana", to: "prometheus", port: 9090 },
  { from: "grafana", to: "loki", port: 3100 },
  { from: "grafana", to: "jaeger", port: 16686 },
  { from: "log-agent", to: "loki", port: 3100 },
  { from: "app", to: "trace-gateway", port: 4318 },
  { from: "worker", to: "trace-gateway", port: 4318 },
  { from: "trace-gateway", to: "trace-gateway", port: 4317 },
  { from: "trace-gateway", to: "jaeger", port: 4318 },
  { from: "prometheus", to: "loki", port: 3100 },
  { from: "prometheus", to: "jaeger", port: 8888 },
  { from: "prometheus", to: "log-agent", port: 8888 },
  { from: "prometheus", to: "trace-gateway", port: 8888 },
  { from: "keda", to: "prometheus", port: 9090 },
];

/** The version that a release tries reaches, and is reached by, whatever the app is. */
const ofCandidate = listed
  .filter(({ from, to }) => from === "app" || to === "app")
  .map((flow) => ({
    ...flow,
    ...(flow.from === "app" && { from: "app-candidate" as const }),
    ...(flow.to === "app" && { to: "app-candidate" as const }),
  }));

/** Every connection that is allowed; what is not listed here is dropped, in both directions. */
export const flows: readonly Flow<keyof typeof workloads>[] = [...listed, ...ofCandidate];

/** The same, with another container in the app's place that listens on ports of its own. */
export function flowsFor({ port, metricsPort }: AppContainer): typeof flows {
  const ports = new Map([
    [ownContainer.port, port],
    [ownContainer.metricsPort, metricsPort],
  ]);
  return flows.map((flow) =>
    flow.to === "app" || flow.to === "app-candidate"
      ? { ...flow, port: ports.get(flow.port) ?? flow.port }
      : flow,
  );
}

/** The same for a stack with these settings: what the app may reach, who is told of alerts, a controller as the edge. */
export function flowsOf({
  app,
  monitoring,
  edge,
  azure,
  secrets,
}: Pick<StackValues, "app" | "monitoring" | "edge" | "azure" | "secrets">): readonly StackFlow[] {
  const told = notificationPorts(monitoring.notifications);
  const served = flowsFor(app.container);
  return [
    ...(edge.mode === "nginx"
      ? served
      : [
          ...served.filter(({ from, to }) => from !== "edge" && to !== "edge"),
          ...controlled.map((to): StackFlow => ({ from: "ingressController", to, port: app.container.port })),
          { from: "blackbox", to: "internet", port: 443 } as const,
        ]),
    ...(edge.mode === "controller" || secrets.store === "keyVault" ? [proberOut] : []),
    ...(azure ? [archivedToAzure] : []),
    ...settingsFlows(app.egressPorts),
    ...told.map((port): StackFlow => ({ from: "alertmanager", to: "internet", port })),
    ...remoteWritePorts(monitoring).map((port): StackFlow => ({ from: "prometheus", to: "internet", port })),
  ];
}

/** What a controller in the place of our own nginx reaches, whichever version users are on; our own clients use the public name. */
const controlled = ["app", "app-candidate"] as const;
/** To the public name, and to the vault. */
const proberOut: StackFlow = { from: "prober", to: "internet", port: 443 };

/** The write-ahead log, where the emulator has no part. */
const archivedToAzure: StackFlow = { from: "postgres", to: "internet", port: 443 };

/** What runs, and every connection between it that is allowed. */
interface Open {
  readonly workloads: Readonly<Record<string, Workload>>;
  readonly flows: readonly Flow<string>[];
}

type DataKind = "cluster" | "managed" | "existing";

/** Ports of Azure's services. */
const managedPorts = { postgres: 5432, "redis-queue": 10_000, "redis-cache": 10_000 } as const;

/**
 * The same, where somebody else runs Postgres or Redis: their pods go, those that read their figures and make their roles come.
 * @param port of a Postgres that was there before, which may be anywhere
 */
export function stackFlows(
  postgres: DataKind,
  redis: DataKind,
  base: readonly StackFlow[] = flows,
  port?: number,
): Open {
  const ports = new Map<string, number>(
    Object.entries(managedPorts).filter(([name]) => (name === "postgres" ? postgres : redis) !== "cluster"),
  );
  const isElsewhere = (name: string): boolean => name === "postgres" && postgres === "existing";
  if (isElsewhere("postgres") && port !== undefined) ports.set("postgres", port);
  const moved = [...ports];
  // Whoever runs a server copies its files.
  const gone = new Set([...ports.keys(), ...(ports.has("postgres") ? ["backup-base"] : [])]);
  const remaining = base.filter(({ from }) => !gone.has(from));
  const kept = Object.entries(workloads).filter(([name]) => !gone.has(name));
  const added = moved.map(([name]): [string, Workload] => [`${name}-exporter`, "data"]);
  const roles: [string, Workload][] = ports.has("postgres") ? [["postgres-roles", "data"]] : [];
  const left = remaining.filter(({ to }) => !ports.has(to));
  const callers = remaining.filter(
    ({ from, to }) => ports.has(to) && from !== "prometheus" && from !== "prober",
  );
  const around = [
    ...callers,
    ...moved.map(([to]) => ({ from: `${to}-exporter`, to })),
    ...roles.map(([from]) => ({ from, to: "postgres" })),
  ].map(({ from, to }) => ({
    from,
    to: isElsewhere(to) ? "internet" : "privateNetwork",
    port: ports.get(to) ?? 0,
  }));
  const scraped = moved.map(([name]) => ({
    from: "prometheus",
    to: `${name}-exporter`,
    port: name === "postgres" ? 9187 : 9121,
  }));
  const distinct = new Map([...around, ...scraped].map((flow) => [JSON.stringify(flow), flow]));
  return {
    workloads: Object.fromEntries([...kept, ...added, ...roles]),
    flows: [...left, ...distinct.values()],
  };
}

/** What only the stack's own Prometheus needs. */
const ofOwnPrometheus = new Set(["prometheus", "alertmanager", "node-exporter"]);

/** The same, where somebody else's Prometheus looks at the stack: it comes in from its namespace, and is asked there. */
export function watchedBy(existing: { readonly port: number } | undefined, open: Open): Open {
  if (!existing) return open;
  const isOurs = (name: string): boolean => name in open.workloads && !ofOwnPrometheus.has(name);
  return {
    workloads: Object.fromEntries(Object.entries(open.workloads).filter(([name]) => isOurs(name))),
    flows: open.flows.flatMap((flow): Flow<string>[] => {
      if (flow.from === "prometheus") return isOurs(flow.to) ? [{ ...flow, from: "existingPrometheus" }] : [];
      if (flow.to === "prometheus")
        return isOurs(flow.from) ? [{ ...flow, to: "existingPrometheus", port: existing.port }] : [];
      return ofOwnPrometheus.has(flow.from) || ofOwnPrometheus.has(flow.to) ? [] : [flow];
    }),
  };
}
