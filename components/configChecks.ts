import { azureProblems } from "./azure/checks.ts";
import { managedProblems } from "./azure/managedChecks.ts";
import type { StackValues } from "./configSchema.ts";
import { variableProblems } from "./edgeChecks.ts";
import { hasDigest, imageNames, imageReference, ownImages, type ImageName } from "./images.ts";
import { monitoringProblems } from "./monitoring/checks.ts";
import { mayBeInVault, mountedSecrets } from "./neededSecrets.ts";
import { workerConnections } from "./workers.ts";

/** Connections of each app pod that only its probes use, so that a busy pool does not look like a dead database. */
const probeConnections = 2;
/** Connections kept free for Patroni, backups, monitoring and a person with psql. */
const reservedConnections = 10;

/** Sections of the configuration; one that is wrong in itself is absent, and what depends on it is not judged. */
type Sections = Partial<StackValues>;

/**
 * Mistakes that no single key shows: what contradicts another value, or what production does not accept.
 * @param secretKeys names of the secrets that are set
 */
export function crossChecks(config: Sections, secretKeys: ReadonlySet<string>): string[] {
  return [
    ...connectionProblems(config),
    ...scalingProblems(config),
    ...imageProblems(config),
    ...secretProblems(config, secretKeys),
    ...monitoringProblems(config, secretKeys),
    ...productionProblems(config),
    ...clusterProblems(config),
    ...controllerProblems(config),
    ...variableProblems(config),
    ...managedProblems(config),
    ...existingProblems(config),
    ...certificateProblems(config, secretKeys),
    ...keyProblems(config, secretKeys),
  ];
}

function clusterProblems({ azure, cluster, edge, logging }: Sections): string[] {
  const absent = logging?.enabled === false ? ["node-agents"] : [];
  const unused = (["priorityClasses", "quotas"] as const).flatMap((key) =>
    Object.keys(cluster?.[key] ?? {})
      .filter((namespace) => absent.includes(namespace))
      .map((namespace) => `groundwork:cluster.${key}.${namespace}: that namespace needs logging.enabled`),
  );
  const missing =
    cluster && cluster.context === undefined && azure?.cluster !== "create"
      ? ["groundwork:cluster.context: missing; name the context of the kubeconfig to work on"]
      : [];
  const inAzure = azure ? azureProblems(azure, edge?.hosts ?? [], cluster?.context) : [];
  return [...missing, ...unused, ...inAzure];
}

function connectionProblems({ app, workers, postgres }: Sections): string[] {
  if (!app || !workers || !postgres) return [];
  const ofPod = app.poolSize + app.poolOverflow + probeConnections;
  const apps = Math.max(app.replicas, app.scaling?.maxReplicas ?? 0);
  const jobs =
    workers.scaling === "keda" ? Math.max(workers.replicas, workers.maxReplicas) : workers.replicas;
  // While versions change there is one pod more, first of the app and then of the workers.
  const surge = Math.max(ofPod, jobs > 0 ? workerConnections : 0);
  const needed = apps * ofPod + jobs * workerConnections + surge + reservedConnections;
  if (needed <= postgres.maxConnections) return [];
  return [
    `groundwork:postgres.maxConnections: ${postgres.maxConnections} is too few for ${apps} app pods with ` +
      `${app.poolSize} + ${app.poolOverflow} + ${probeConnections} connections each, ${jobs} workers with ` +
      `${workerConnections}, ${surge} for one pod more in a rollout and ${reservedConnections} in reserve; raise it to ${needed} or lower groundwork:app.poolSize`,
  ];
}

function scalingProblems({ app, workers }: Sections): string[] {
  const below = (key: string, most: number | undefined, least: number): string[] =>
    most === undefined || most >= least
      ? []
      : [
          `groundwork:${key}.maxReplicas: ${most} is below groundwork:${key.split(".")[0] ?? ""}.replicas (${least})`,
        ];
  return [
    ...below("app.scaling", app?.scaling?.maxReplicas, app?.replicas ?? 0),
    ...(workers?.scaling === "keda" ? below("workers", workers.maxReplicas, workers.replicas) : []),
  ];
}

/** Every image that a stack runs; one that is built from the repository and not named yet has no reference. */
export function stackImages(config: Sections): { name: ImageName; reference: string | undefined }[] {
  return imageNames
    .filter((name) => isRun(name, config))
    .map((name) => ({ name, reference: imageReference(name, config.images ?? {}, config.registry) }));
}

function imageProblems(config: Sections): string[] {
  const { images, environment, build } = config;
  if (!images) return [];
  return stackImages(config).flatMap(({ name, reference }) => {
    if (reference === undefined) {
      if (build && name in ownImages) return [];
      return [
        `groundwork:images.${name}: missing; this image is built from the repository and has no default; name one, or set groundwork:build`,
      ];
    }
    if (environment !== "production" || hasDigest(reference)) return [];
    return [
      `groundwork:images.${name}: production runs images by digest (found "${reference}", no @sha256:…)`,
    ];
  });
}

/** Azurite stands in for Azure Blob in development only; Grafana, what collects logs, nginx and Prometheus may be left out. */
function isRun(image: ImageName, { environment, monitoring, logging, edge }: Sections): boolean {
  if (image === "nginx" || image === "nginx-exporter") return edge?.mode !== "controller";
  if (image === "loki" || image === "jaeger" || image === "otel-collector") return logging?.enabled === true;
  if (image === "azurite") return environment === "development";
  if (image === "prometheus" || image === "alertmanager") return monitoring?.existing === undefined;
  return image !== "grafana" || monitoring?.grafana !== false;
}

function secretProblems(config: Sections, secretKeys: ReadonlySet<string>): string[] {
  const { secrets, azure, environment } = config;
  if (!secrets) return [];
  const inVault = secrets.store === "keyVault";
  if (inVault && !azure)
    return ["groundwork:azure: missing; secrets.store keyVault needs subscriptionId, tenantId and location"];
  if (mayBeInVault(config)) return [];
  const why = inVault ? "pods mount it in the same up that makes the vault; " : "";
  const unset = mountedSecrets(config).filter((key) => !secretKeys.has(key));
  return [
    ...unset.map(
      (key) => `groundwork:${key}: missing; ${why}set it with: pulumi config set --secret groundwork:${key}`,
    ),
    ...(environment === "production" && !inVault
      ? ["groundwork:secrets.store: production keeps secrets in keyVault"]
      : []),
  ];
}

function existingProblems({ postgres }: Sections): string[] {
  if (!postgres || (postgres.kind === "existing") === (postgres.existing !== undefined)) return [];
  return [
    postgres.existing
      ? `groundwork:postgres.existing: has no effect with postgres.kind: ${postgres.kind}; remove it`
      : "groundwork:postgres.existing: missing; kind: existing needs host and admin",
  ];
}

function certificateProblems({ edge, secrets }: Sections, secretKeys: ReadonlySet<string>): string[] {
  const from = edge?.certificate.from ?? "given";
  return [
    ...(from === "keyVault" && secrets?.store === "kubernetes"
      ? ["groundwork:edge.certificate.from: keyVault needs secrets.store: keyVault"]
      : []),
    ...(from !== "given" && secretKeys.has("tlsBundle")
      ? [`groundwork:tlsBundle: has no effect with edge.certificate.from: ${from}; remove it`]
      : []),
  ];
}

function keyProblems({ app }: Sections, secretKeys: ReadonlySet<string>): string[] {
  const generations = app?.keys.fields ?? [1];
  if (!secretKeys.has("fieldKeys") || generations.join() === "1") return [];
  return [
    `groundwork:app.keys.fields: [${generations.join(", ")}] has no effect, as groundwork:fieldKeys has the keys and says which is active; remove one of them`,
  ];
}

/** Contexts that local clusters give themselves. */
const localContext =
  /^(groundwork-node|kind-.*|k3d-.*|minikube|docker-desktop|rancher-desktop|orbstack|colima)$/;

/** What production may be previewed with and not be changed with. */
export function updateProblems({ environment, cluster }: StackValues): string[] {
  const { context } = cluster;
  if (environment !== "production" || context === undefined || !localContext.test(context)) return [];
  return [
    `groundwork:cluster.context: "${context}" is a development cluster, and production must not be put on one; ` +
      "name the context of the production cluster (a preview is allowed)",
  ];
}

function productionProblems({
  environment,
  app,
  workers,
  edge,
  postgres,
  redis,
  monitoring,
  logging,
}: Sections): string[] {
  if (environment !== "production") return [];
  const atLeast = (key: string, value: number | undefined, least: number): string[] =>
    value === undefined || value >= least
      ? []
      : [`groundwork:${key}: production needs at least ${least} (found ${value})`];
  return [
    ...(app?.container.tls === false
      ? ["groundwork:app.container.tls: production encrypts the way from the edge to the app (found false)"]
      : []),
    ...atLeast("app.replicas", app?.replicas, 2),
    ...(workers?.replicas === 0 ? [] : atLeast("workers.replicas", workers?.replicas, 2)),
    ...(edge?.mode === "controller" ? [] : atLeast("edge.replicas", edge?.replicas, 2)),
    ...atLeast("monitoring.replicas", monitoring?.replicas, 2),
    ...atLeast("logging.traces.gateways", logging?.traces.gateways, 2),
    ...atLeast("postgres.members", postgres?.kind === "cluster" ? postgres.members : undefined, 3),
    ...atLeast("redis.queue.members", redis?.kind === "managed" ? undefined : redis?.queue.members, 3),
  ];
}

function controllerProblems({ edge }: Sections): string[] {
  if (edge?.mode !== "controller") return [];
  const { certificate, hosts } = edge;
  return [
    ...(certificate.from === "keyVault"
      ? [
          "groundwork:edge.certificate.from: a controller reads Secrets, no vault; keyVault is for edge.mode: nginx",
        ]
      : []),
    ...hosts
      .filter((host) => /^[\d.]+$/.test(host))
      .map((host) => `groundwork:edge.hosts: an Ingress has names only, no addresses (found "${host}")`),
  ];
}
