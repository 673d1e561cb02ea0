import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import {
  apiSecrets,
  boundedCommand,
  commonEnvironment,
  databaseEnvironment,
  databaseFiles,
  environment,
  redisEnvironment,
  redisFiles,
  tracesEnvironment,
  type AppBindings,
} from "./appConnections.ts";
import { settingsEnvironment, settingsFiles } from "./appSettings.ts";
import { served, type AppContainer } from "./appContainer.ts";
import type { ServerCertificate } from "./certificates.ts";
import { allowOneEviction } from "./disruption.ts";
import { shortHash } from "./manifests.ts";
import { scrapedPods } from "./metricsService.ts";
import {
  labels,
  replacedWhenFailed,
  resources,
  restrictedContainer,
  restrictedPod,
  scratch,
  secretsPath,
  selector,
  serviceAccount,
  serviceHost,
  spread,
} from "./podDefaults.ts";
import { ReleaseTraffic, type ReleaseSettings } from "./releaseTraffic.ts";
import { podCount, rolloutTimeouts, scaleOnLoad, type LoadScaling } from "./scaling.ts";
import { secretsVolume, type StoredSecret } from "./secrets/secretStore.ts";
import { emergencySwitches } from "./switches.ts";
import type { CheckedServer, MetricsTarget, Resources, Share } from "./types.ts";

export interface WebAppArgs extends AppBindings {
  /** Namespace to run in. */
  readonly namespace: pulumi.Output<string>;
  /** The app's image (`app/Dockerfile`). */
  readonly image: pulumi.Input<string>;
  /** Pods that serve requests; the fewest where they are scaled. */
  readonly replicas: number;
  /** More pods under load; without it there are always `replicas`. */
  readonly scaling?: LoadScaling | undefined;
  /** CPU and memory of each pod. */
  readonly resources: Resources;
  /** Database connections that each pod keeps open. */
  readonly poolSize: number;
  /** Connections that a pod may open beyond that. */
  readonly poolOverflow: number;
  /** What a new version must show before it gets more users. */
  readonly release: ReleaseSettings;
  /** Keys that access tokens are signed with: `{"active": kid, "keys": {kid: base64}}`. */
  readonly signingKeys: StoredSecret;
  /** How long a migration may take with its retries, seconds; then it is stopped and the rollout ends. */
  readonly migrationSeconds: number;
  /** How the image is run. */
  readonly container: AppContainer;
  /** Password of the user that the prober signs in as; absent: nobody probes. */
  readonly probePassword?: StoredSecret | undefined;
  /** What it proves its name to the edge with. */
  readonly certificate: ServerCertificate;
}

const name = "app";
const migrateName = "app-migrate";
/** How long a stopping pod keeps serving while the edge learns that it is leaving. */
const shutdownDelaySeconds = 5;

/** The API: migrated before it takes traffic, probed, and never with fewer than its last ready pod. */
export class WebApp extends pulumi.ComponentResource {
  /** Where the edge sends requests. */
  readonly shares: readonly Share[];
  /** What the edge checks it by; absent where the container does not speak TLS. */
  readonly tls: CheckedServer | undefined;
  readonly metrics: MetricsTarget;
  /** The version that a release tries, while there is one. */
  readonly candidate: { readonly metrics: MetricsTarget };

  constructor(resourceName: string, args: WebAppArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:app:WebApp", resourceName, {}, opts);
    const { namespace, container } = args;
    const { metricsPort, tls } = container;
    const { api, probe } = served(container);
    const own = apiSecrets(tls, args.certificate, args.probePassword);
    const child = { parent: this };
    const metadata = { name, namespace, labels: labels(name, "api") };

    const migrations = container.migration.length > 0 ? [this.migration(args)] : [];
    const secrets = args.secrets.mount(name, {
      namespace,
      files: {
        ...databaseFiles(args.database, args.database.appUser),
        ...redisFiles(args),
        ...settingsFiles(args.settings),
        ...own.files,
        "jwt-keys.json": args.signingKeys,
        "field-keys.json": args.fieldKeys,
      },
    });
    const temporary = scratch("tmp", "/tmp");
    const switches = emergencySwitches(this, namespace);
    const decided = podCount(metadata, args.scaling !== undefined);
    new k8s.apps.v1.Deployment(
      name,
      {
        metadata: decided.metadata,
        spec: {
          replicas: args.replicas,
          progressDeadlineSeconds: 120,
          strategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
          selector: { matchLabels: selector(name) },
          template: {
            metadata: { labels: metadata.labels },
            spec: {
              ...restrictedPod,
              serviceAccountName: serviceAccount(this, name, namespace),
              terminationGracePeriodSeconds: shutdownDelaySeconds + 30,
              topologySpreadConstraints: spread(name),
              containers: [
                {
                  ...restrictedContainer,
                  name,
                  image: args.image,
                  command: boundedCommand(container.command, args.resources),
                  env: environment({
                    ...settingsEnvironment(args.settings),
                    ...commonEnvironment(args),
                    ...databaseEnvironment(args.database, args.database.appUser),
                    ...tracesEnvironment(args),
                    PORT: String(container.port),
                    METRICS_PORT: String(metricsPort),
                    ...own.environment,
                    REQUIRE_CREDENTIALS: "true",
                    DATABASE_POOL_SIZE: String(args.poolSize),
                    DATABASE_POOL_OVERFLOW: String(args.poolOverflow),
                    ...redisEnvironment(args),
                    JWT_KEYS_FILE: `${secretsPath}/jwt-keys.json`,
                    FIELD_KEYS_FILE: `${secretsPath}/field-keys.json`,
                    SHUTDOWN_DELAY_SECONDS: String(shutdownDelaySeconds),
                    ...switches.env,
                  }),
                  ports: [
                    { name: api.name, containerPort: container.port },
                    { name: "metrics", containerPort: metricsPort },
                  ],
                  resources: resources(args.resources),
                  startupProbe: { ...probe(container.livenessPath), periodSeconds: 1, failureThreshold: 60 },
                  readinessProbe: {
                    ...probe(container.readinessPath),
                    periodSeconds: 5,
                    failureThreshold: 2,
                  },
                  livenessProbe: { ...probe(container.livenessPath), periodSeconds: 10, failureThreshold: 3 },
                  volumeMounts: [
                    { name: secretsVolume, mountPath: secretsPath, readOnly: true },
                    temporary.mount,
                    switches.mount,
                  ],
                },
              ],
              volumes: [secrets, temporary.volume, switches.volume],
            },
          },
        },
      },
      {
        ...child,
        dependsOn: migrations,
        customTimeouts: rolloutTimeouts(args.scaling?.maxReplicas ?? args.replicas),
        ...decided.options,
      },
    );
    allowOneEviction(this, metadata);
    if (args.scaling) scaleOnLoad(this, metadata, args.replicas, args.scaling);
    const service = `${name}-metrics`;
    this.metrics = scrapedPods(this, metadata, { service, port: metricsPort, pods: args.replicas });
    const traffic = new ReleaseTraffic(
      "release",
      { namespace, app: name, api, metricsPort, settings: args.release },
      child,
    );

    this.shares = traffic.shares;
    this.tls = tls ? { name: serviceHost(name, namespace), ca: args.certificate.ca } : undefined;
    this.candidate = traffic;
    this.registerOutputs({});
  }

  // The Job before goes first: an update that failed would else keep it, and its name from the way back.
  /** Brings the schema to what this image needs. A new image is a new Job, so each rollout migrates exactly once. */
  private migration(args: WebAppArgs): k8s.batch.v1.Job {
    const { namespace } = args;
    const jobName = pulumi.output(args.image).apply((image) => `${migrateName}-${shortHash(image)}`);
    const volume = args.secrets.mount(migrateName, {
      namespace,
      files: databaseFiles(args.database, args.database.owner),
    });
    const jobLabels = labels(migrateName, "migration");
    const temporary = scratch("tmp", "/tmp");
    return new k8s.batch.v1.Job(
      migrateName,
      {
        metadata: { name: jobName, namespace, labels: jobLabels, annotations: replacedWhenFailed },
        spec: {
          backoffLimit: 2,
          activeDeadlineSeconds: args.migrationSeconds,
          template: {
            metadata: { labels: jobLabels },
            spec: {
              ...restrictedPod,
              serviceAccountName: serviceAccount(this, migrateName, namespace),
              restartPolicy: "Never",
              containers: [
                {
                  ...restrictedContainer,
                  name: "migrate",
                  image: args.image,
                  command: boundedCommand(args.container.migration, args.resources),
                  env: environment({
                    ...commonEnvironment(args),
                    ...databaseEnvironment(args.database, args.database.owner),
                  }),
                  resources: resources(args.resources),
                  volumeMounts: [
                    { name: secretsVolume, mountPath: secretsPath, readOnly: true },
                    temporary.mount,
                  ],
                },
              ],
              volumes: [volume, temporary.volume],
            },
          },
        },
      },
      // The Job itself is to say that its time is over.
      {
        parent: this,
        deleteBeforeReplace: true,
        customTimeouts: { create: `${args.migrationSeconds + 60}s` },
      },
    );
  }
}
