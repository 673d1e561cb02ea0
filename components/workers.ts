import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import {
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
import { allowOneEviction } from "./disruption.ts";
import { scrapedPods } from "./metricsService.ts";
import {
  labels,
  resources,
  restrictedContainer,
  restrictedPod,
  scratch,
  secretsPath,
  selector,
  serviceAccount,
  spread,
} from "./podDefaults.ts";
import type { MetricsSource } from "./monitoring/settings.ts";
import { podCount, rolloutTimeouts, scaleOnQueue } from "./scaling.ts";
import { secretsVolume } from "./secrets/secretStore.ts";
import type { MetricsTarget, Resources } from "./types.ts";

export interface WorkersArgs extends AppBindings {
  /** Namespace to run in. */
  readonly namespace: pulumi.Output<string>;
  /** The app's image (`app/Dockerfile`); its database must have been migrated to it. */
  readonly image: pulumi.Input<string>;
  /** Pods that do jobs; the fewest where they are scaled. */
  readonly replicas: number;
  /** `keda`: up to `maxReplicas` pods, one for every `jobsPerPod` jobs that wait. */
  readonly scaling: "fixed" | "keda";
  readonly maxReplicas: number;
  readonly jobsPerPod: number;
  /** Knows how many jobs wait. */
  readonly figures: MetricsSource;
  /** CPU and memory of each pod. */
  readonly resources: Resources;
  /** Feeds to collect, by the tenant's name. */
  readonly feeds: Readonly<Record<string, readonly string[]>>;
  /** When the batches run; cron expressions in `timeZone`. */
  readonly schedules: { readonly collection: string; readonly summaries: string; readonly cleanUp: string };
  /** IANA time zone of the schedules. */
  readonly timeZone: string;
}

const name = "worker";
const metricsPort = 9464;
const feedsPath = "/etc/groundwork/feeds";
/** How long a stopping pod goes on with its jobs before it hands them back; letting go takes some seconds more. */
const graceSeconds = 20;
const poolSize = 5;
const poolOverflow = 10;
/** Database connections of one pod at most: those for jobs, and its probes' own. */
export const workerConnections = poolSize + poolOverflow + 2;

/** Processes of the app's image that do its jobs. A pod that ends, or is ended, leaves its jobs to the others. */
export class Workers extends pulumi.ComponentResource {
  readonly metrics: MetricsTarget;

  constructor(resourceName: string, args: WorkersArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:app:Workers", resourceName, {}, opts);
    const { namespace } = args;
    const child = { parent: this };
    const metadata = { name, namespace, labels: labels(name, "worker") };

    const secrets = args.secrets.mount(name, {
      namespace,
      files: {
        ...databaseFiles(args.database, args.database.appUser),
        ...redisFiles(args),
        ...settingsFiles(args.settings),
        "field-keys.json": args.fieldKeys,
      },
    });
    const temporary = scratch("tmp", "/tmp");
    // Read at every collection: no pod has to be rolled when it changes.
    const feeds = new k8s.core.v1.ConfigMap(
      `${name}-feeds`,
      {
        metadata: { ...metadata, name: `${name}-feeds` },
        data: { "feeds.json": JSON.stringify(args.feeds, null, 2) },
      },
      child,
    );
    const scaled = args.scaling === "keda";
    const decided = podCount(metadata, scaled);
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
              terminationGracePeriodSeconds: graceSeconds + 15,
              topologySpreadConstraints: spread(name),
              containers: [
                {
                  ...restrictedContainer,
                  name,
                  image: args.image,
                  command: boundedCommand(["node", "/app/dist/worker.js"], args.resources),
                  env: environment({
                    ...settingsEnvironment(args.settings),
                    ...commonEnvironment(args),
                    ...databaseEnvironment(args.database, args.database.appUser),
                    ...tracesEnvironment(args),
                    ...redisEnvironment(args),
                    METRICS_PORT: String(metricsPort),
                    REQUIRE_CREDENTIALS: "true",
                    DATABASE_POOL_SIZE: String(poolSize),
                    DATABASE_POOL_OVERFLOW: String(poolOverflow),
                    FIELD_KEYS_FILE: `${secretsPath}/field-keys.json`,
                    FEEDS_FILE: `${feedsPath}/feeds.json`,
                    COLLECTION_SCHEDULE: args.schedules.collection,
                    SUMMARIES_SCHEDULE: args.schedules.summaries,
                    CLEAN_UP_SCHEDULE: args.schedules.cleanUp,
                    SCHEDULE_TIME_ZONE: args.timeZone,
                    WORKER_GRACE_SECONDS: String(graceSeconds),
                  }),
                  ports: [{ name: "metrics", containerPort: metricsPort }],
                  resources: resources(args.resources),
                  startupProbe: { ...probe("/health"), periodSeconds: 1, failureThreshold: 60 },
                  readinessProbe: { ...probe("/ready"), periodSeconds: 5, failureThreshold: 2 },
                  livenessProbe: { ...probe("/health"), periodSeconds: 10, failureThreshold: 3 },
                  volumeMounts: [
                    { name: secretsVolume, mountPath: secretsPath, readOnly: true },
                    { name: "feeds", mountPath: feedsPath, readOnly: true },
                    temporary.mount,
                  ],
                },
              ],
              volumes: [
                secrets,
                { name: "feeds", configMap: { name: feeds.metadata.name } },
                temporary.volume,
              ],
            },
          },
        },
      },
      {
        ...child,
        customTimeouts: rolloutTimeouts(scaled ? args.maxReplicas : args.replicas),
        ...decided.options,
      },
    );
    allowOneEviction(this, metadata);
    if (scaled) scaleOnQueue(this, metadata, args.replicas, args);
    const service = `${name}-metrics`;
    this.metrics = scrapedPods(this, metadata, { service, port: metricsPort, pods: args.replicas });
    this.registerOutputs({});
  }
}

function probe(path: string): k8s.types.input.core.v1.Probe {
  return { httpGet: { path, port: "metrics" }, timeoutSeconds: 3 };
}
