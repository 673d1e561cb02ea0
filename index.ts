// The whole stack on one screen: configuration in, components wired in the order they depend on each other, outputs out.
import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

import { AzurePlatform } from "./components/azure/platform";
import { Azurite } from "./components/azurite";
import { Backups } from "./components/backups";
import { clusterProvider } from "./components/cluster";
import { loadConfig } from "./components/config";
import { flows, workloads } from "./components/flows";
import { requireImage } from "./components/images";
import { NginxIngress, withAnnotations } from "./components/ingress";
import { Monitoring } from "./components/monitoring/monitoring";
import { StackNamespaces } from "./components/namespaces";
import { NetworkPolicies } from "./components/networkPolicies";
import { Postgres } from "./components/postgres";
import { Redis } from "./components/redis";
import { KeyVaultSecretStore } from "./components/secrets/keyVaultSecretStore";
import { KubernetesSecretStore } from "./components/secrets/kubernetesSecretStore";
import { WebApp } from "./components/webApp";

const config = loadConfig();
const image = requireImage(config.images);
const retainData = config.environment === "production";

// Azure, where the stack has it: vault, backup storage, identities, and the cluster unless there is one.
const azure = config.azure && new AzurePlatform("groundwork", { ...config.azure, hosts: config.edge.hosts });

// The cluster: namespaces, closed but for the listed flows before any pod starts.
const { context = "", apiServerCidrs } = config.cluster;
const provider = clusterProvider(azure?.cluster ?? { context });
const { names: namespaces } = new StackNamespaces("namespaces", { provider });
const network = new NetworkPolicies(
  "network",
  { namespaces, workloads, flows, apiServerCidrs },
  { provider },
);
const guarded = { provider, dependsOn: [network] };

const secrets =
  config.secrets.store === "keyVault" && azure
    ? new KeyVaultSecretStore("secrets", azure, { providers: [provider, azure.provider] })
    : new KubernetesSecretStore("secrets", { provider });
const { tlsBundle, ageIdentity } = config;
const signingKey = new random.RandomBytes("jwt-signing-key", { length: 48 }).base64;

// Data.
const data = { namespace: namespaces.data, secrets, retainData };
const postgres = new Postgres("postgres", { ...data, ...config.postgres, image: image("postgres") }, guarded);
const redis = { ...data, image: image("redis") };
const redisQueue = new Redis("redis-queue", { ...redis, ...config.redis.queue, purpose: "queue" }, guarded);
const redisCache = new Redis("redis-cache", { ...redis, ...config.redis.cache, purpose: "cache" }, guarded);

// The app.
const app = new WebApp(
  "app",
  {
    ...config.app,
    namespace: namespaces.app,
    image: image("app"),
    environment: config.environment,
    database: postgres,
    redisQueue,
    redisCache,
    secrets,
    signingKeys: secrets.keep("jwt-keys", pulumi.jsonStringify({ active: "1", keys: { "1": signingKey } })),
  },
  guarded,
);

// The edge.
const edge = new NginxIngress(
  "edge",
  {
    ...config.edge,
    service: withAnnotations(config.edge.service, azure?.edgeAnnotations),
    namespace: namespaces.edge,
    image: image("nginx"),
    upstreams: { apiV1: app.endpoint, apiV2: app.endpoint, app: app.endpoint },
    secrets,
    tlsBundle: tlsBundle ? secrets.keep("edge-tls", tlsBundle) : { name: "edge-tls" },
  },
  guarded,
);

// Backups, to Azure Blob or, in development, to its emulator in the cluster.
const blobStore =
  azure?.backups ?? new Azurite("azurite", { ...data, image: image("azurite") }, guarded).store;
const backups = new Backups(
  "backups",
  {
    ...data,
    ...config.backups,
    image: image("postgres"),
    database: { endpoint: postgres.endpoint, name: postgres.database, user: postgres.backupUser },
    store: blobStore,
    ageIdentity: ageIdentity ? secrets.keep("age-identity", ageIdentity) : { name: "age-identity" },
  },
  guarded,
);

// The eyes.
const { grafana, retentionDays, storageGiB } = config.monitoring;
new Monitoring(
  "monitoring",
  {
    namespace: namespaces.monitoring,
    secrets,
    targets: [app.metrics, postgres.metrics, backups.metrics],
    prometheus: { image: image("prometheus"), retentionDays, storageGiB, retainData },
    alertmanager: { image: image("alertmanager") },
    ...(grafana && { grafana: { image: image("grafana") } }),
  },
  guarded,
);

/** Base URL of the edge. */
export const url = edge.url;
