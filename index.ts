// The whole stack on one screen: configuration in, components wired in the order they depend on each other, outputs out.
import { keepSettings } from "./components/appSettings.ts";
import { AzurePlatform } from "./components/azure/platform.ts";
import { Azurite } from "./components/azurite.ts";
import { Backups } from "./components/backups.ts";
import { stackImage } from "./components/builtImages.ts";
import { keepCertificates } from "./components/certificates.ts";
import { loadConfig } from "./components/config.ts";
import { dataTier } from "./components/data.ts";
import { destroyGuard } from "./components/destroyGuard.ts";
import { makeEdge } from "./components/edge.ts";
import { foundation } from "./components/foundation.ts";
import { withAnnotations } from "./components/ingress.ts";
import { keepKeys } from "./components/keyFile.ts";
import { Logging } from "./components/logging/logging.ts";
import { Monitoring } from "./components/monitoring/monitoring.ts";
import { metricsSource, monitoringSettings } from "./components/monitoring/settings.ts";
import { internalServers, proberSettings } from "./components/monitoring/prober.ts";
import { KeyVaultSecretStore } from "./components/secrets/keyVaultSecretStore.ts";
import { KubernetesSecretStore } from "./components/secrets/kubernetesSecretStore.ts";
import "./components/stackTraces.ts";
import { WebApp } from "./components/webApp.ts";
import { Workers } from "./components/workers.ts";

const config = loadConfig();
const retainData = config.environment === "production";
const refuseDestroy = destroyGuard(retainData);
const image = stackImage(config);

// Azure, where the stack has it: vault, backup storage, identities, and the cluster unless there is one.
const azure = config.azure && new AzurePlatform("groundwork", { ...config.azure, hosts: config.edge.hosts });

// The cluster: namespaces, closed but for the listed flows before any pod starts.
const { provider, namespaces, guarded } = foundation(config, azure?.cluster);

const secrets =
  config.secrets.store === "keyVault" && azure
    ? new KeyVaultSecretStore("secrets", azure, { providers: [provider, azure.provider] })
    : new KubernetesSecretStore("secrets", { provider });

// Data, and where its backups are kept: Azure Blob or, in development, its emulator in the cluster.
const data = { namespace: namespaces.data, secrets, retainData };
const certificates = keepCertificates(secrets, config);
const emulator = { ...data, image: image("azurite"), certificate: certificates.azurite };
const archive = azure?.backups ?? new Azurite("azurite", emulator, guarded).store;
const tier = { ...data, archive, image, certificates, settings: config, managed: azure?.managed };
const stores = dataTier(tier, guarded);

// Logs and traces, where they are wanted.
const collected = { ...config.logging, namespaces, image, retainData };
const logging = config.logging.enabled ? new Logging("logging", collected, guarded) : undefined;

// The app, and the workers that do its jobs: two processes of one image, after the schema was brought to what it needs.
const { environment, app: appSettings } = config;
const settings = keepSettings(secrets, appSettings.variables, config.appFiles);
const common = { ...stores, secrets, namespace: namespaces.app, image: image("app"), environment };
const keys = keepKeys(secrets, appSettings.keys, retainData, config.fieldKeys);
const keyed = { ...common, settings, fieldKeys: keys.fields, tracesUrl: logging?.tracesUrl };
const prober = proberSettings(config, secrets, image("postgres"));
const serving = { signingKeys: keys.signing, certificate: certificates.app, probePassword: prober.password };
const app = new WebApp("app", { ...appSettings, ...keyed, ...serving }, guarded);
const watched = { logLevel: appSettings.logLevel, figures: metricsSource(config, namespaces) };
const jobs = { ...config.workers, ...keyed, ...watched };
const workers = jobs.replicas > 0 ? [new Workers("workers", jobs, { ...guarded, dependsOn: [app] })] : [];

// The edge.
const edge = makeEdge(
  "edge",
  {
    ...config.edge,
    service: withAnnotations(config.edge.service, azure?.edgeAnnotations),
    namespace: namespaces.edge,
    image: image("nginx"),
    exporterImage: image("nginx-exporter"),
    upstreams: { apiV1: app.shares, apiV2: app.shares, app: app.shares },
    upstreamTls: app.tls,
    secrets,
    tlsBundle: secrets.keep("edge-tls", config.tlsBundle),
  },
  guarded,
);

const backups = new Backups(
  "backups",
  {
    ...data,
    ...config.backups,
    image: image("postgres"),
    database: stores.database,
    store: archive,
    ageIdentity: secrets.keep("age-identity", config.ageIdentity),
  },
  guarded,
);

// The eyes.
const scraped = [app, app.candidate, ...workers, backups].map(({ metrics }) => metrics);
const { grafana, run, prometheus, alertmanager } = monitoringSettings(config, secrets);
new Monitoring(
  "monitoring",
  {
    namespace: namespaces.monitoring,
    secrets,
    ...run,
    targets: [...stores.metrics, ...edge.metrics, ...scraped, ...(logging?.metrics ?? [])],
    blackbox: { image: image("blackbox"), edge: edge.probed },
    nodeExporter: { image: image("exporters") },
    prober: { ...prober, servers: internalServers(config, namespaces, app), ca: certificates.app.ca },
    prometheus: { image: image("prometheus"), ...prometheus, retainData },
    alertmanager: { image: image("alertmanager"), ...alertmanager },
    ...(grafana && { grafana: { image: image("grafana"), stores: logging?.stores } }),
  },
  guarded,
);

refuseDestroy();

/** Base URL of the edge. */
export const url = edge.url;
