import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { blobClient, type BlobStore } from "./blobStore.ts";
import type { ServerCertificate } from "./certificates.ts";
import { claimTemplates, growClaims, templateAsMade } from "./claims.ts";
import { allowOneEviction } from "./disruption.ts";
import { postgresExporter, postgresExporterPort } from "./exporters.ts";
import { patroniAccess, patroniServices, patroniSettings, postgresLabels, postgresName } from "./patroni.ts";
import { checksumAnnotation, manifestFiles } from "./manifests.ts";
import {
  apart,
  resources,
  restrictedContainer,
  restrictedPod,
  scratch,
  secretsPath,
  selector,
  serviceHost,
  spread,
} from "./podDefaults.ts";
import { databaseUsers, loginFiles, type DatabaseUser } from "./databaseUsers.ts";
import { secretsVolume, type SecretStore, type StoredSecret } from "./secrets/secretStore.ts";
import type { Endpoint, MetricsTarget, Resources } from "./types.ts";

export interface PostgresArgs {
  /** Namespace to run in. */
  readonly namespace: pulumi.Output<string>;
  /** Image with PostgreSQL 17 and Patroni (`images/postgres`). */
  readonly image: pulumi.Input<string>;
  /** Image with the exporter (`images/exporters`). */
  readonly exporterImage: pulumi.Input<string>;
  /** Patroni members; 3 or more fail over by themselves. */
  readonly members: number;
  /** Refuses to start two members on one node, rather than only avoiding it. */
  readonly separateNodes: boolean;
  /** Volume of each member, GiB. */
  readonly storageGiB: number;
  /** CPU and memory of each member; the server's settings follow from the memory. */
  readonly resources: Resources;
  /** Connections the server accepts. */
  readonly maxConnections: number;
  /** Keeps the volumes when the stack is destroyed. */
  readonly retainData: boolean;
  /** Names: `postgres.data…`, `*.postgres-members.data…` and `localhost`. */
  readonly certificate: ServerCertificate;
  /** Keeps the roles' passwords. */
  readonly secrets: SecretStore;
  /** Generations of the passwords that are valid, the one that clients use first; default the first. */
  readonly passwords?: readonly number[];
  /** Where the write-ahead log is archived. */
  readonly archive: BlobStore;
}

const name = postgresName;
const metadataLabels = postgresLabels;

/**
 * PostgreSQL run by Patroni, with Kubernetes as its consensus store: the Service `postgres` always leads to the
 * primary, because Patroni moves its address in the same write that moves the leader's lock.
 */
export class Postgres extends pulumi.ComponentResource {
  /** The primary. */
  readonly endpoint: Endpoint;
  /** Name of the application's database. */
  readonly database = "app";
  /** Owns and migrates the schema. */
  readonly owner: DatabaseUser;
  /** The app; row-level security holds for it. */
  readonly appUser: DatabaseUser;
  /** Reads everything for dumps. */
  readonly backupUser: DatabaseUser;
  /** Reads the files of the whole server for base backups. */
  readonly replicator: DatabaseUser;
  /** Authority that signed the servers' certificate; unencrypted connections are refused. */
  readonly ca: StoredSecret;
  /** Patroni's figures, and those of every server. */
  readonly metrics: readonly MetricsTarget[];

  constructor(resourceName: string, args: PostgresArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:data:Postgres", resourceName, {}, opts);
    const { namespace, secrets } = args;
    const child = { parent: this };
    const users = databaseUsers(secrets, args.passwords);
    this.owner = users.owner;
    this.appUser = users.app;
    this.backupUser = users.backup;
    this.replicator = {
      role: "replicator",
      password: secrets.generate("postgres-replication-password"),
    };
    this.ca = args.certificate.ca;
    const archive = blobClient(args.archive, name, namespace);

    const config = manifestFiles("patroni");
    const settings = patroniSettings(args);
    const volume = secrets.mount(name, {
      namespace,
      files: {
        "tls.pem": args.certificate.bundle,
        "ca.crt": args.certificate.ca,
        "replication-password": this.replicator.password,
        "rewind-password": secrets.generate("postgres-rewind-password"),
        ...loginFiles(users),
        "monitoring-password": secrets.generate("app-monitoring-password"),
        ...archive.files,
      },
    });
    const configMap = (suffix: string, data: Record<string, string>): k8s.core.v1.ConfigMap =>
      new k8s.core.v1.ConfigMap(
        `${name}-${suffix}`,
        { metadata: { name: `${name}-${suffix}`, namespace, labels: metadataLabels }, data },
        child,
      );
    const configs = {
      patroni: configMap("patroni", config),
      "patroni-settings": configMap("settings", settings),
    };
    // How many members there are, and how large their volumes, changes while they run.
    const annotations = checksumAnnotation({
      ...config,
      ...patroniSettings({ ...args, members: 1, storageGiB: 1 }),
    });
    const services = patroniServices(this, namespace);
    const access = patroniAccess(this, namespace, args.members, archive.annotations);
    const runtime = scratch("run", "/run/patroni");
    const temporary = scratch("tmp", "/tmp");
    // Parallel queries share what they sort and hash there; a runtime gives 64 MiB, whatever the pod has.
    const shared = scratch("shared", "/dev/shm");
    const sharedLimit = `${Math.floor(args.resources.memoryMiB / 4)}Mi`;

    const members = new k8s.apps.v1.StatefulSet(
      name,
      {
        metadata: { name, namespace, labels: metadataLabels },
        spec: {
          serviceName: services.members.metadata.name,
          replicas: args.members,
          podManagementPolicy: "Parallel",
          persistentVolumeClaimRetentionPolicy: {
            whenDeleted: args.retainData ? "Retain" : "Delete",
            whenScaled: "Retain",
          },
          selector: { matchLabels: selector(name) },
          template: {
            metadata: { labels: { ...metadataLabels, ...archive.labels }, annotations },
            spec: {
              ...restrictedPod,
              // Patroni keeps its leader lock and its own pod's role through the API.
              automountServiceAccountToken: true,
              serviceAccountName: access.metadata.name,
              // Patroni hands the lead over before it stops; a fast shutdown of the server follows.
              terminationGracePeriodSeconds: 60,
              topologySpreadConstraints: spread(name),
              affinity: apart(name, args.separateNodes),
              containers: [
                {
                  ...restrictedContainer,
                  name: "patroni",
                  image: args.image,
                  command: ["/bin/sh", "/etc/groundwork/patroni/start.sh"],
                  lifecycle: {
                    preStop: { exec: { command: ["python3", "/etc/groundwork/patroni/leave.py"] } },
                  },
                  env: [
                    { name: "POD_NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
                    { name: "POD_NAMESPACE", valueFrom: { fieldRef: { fieldPath: "metadata.namespace" } } },
                    { name: "POD_IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } },
                    ...Object.entries(archive.env).map(([variable, value]) => ({ name: variable, value })),
                    // For people, who type no more than `patronictl list`.
                    { name: "PATRONICTL_CONFIG_FILE", value: "/run/patroni/config" },
                  ],
                  ports: [
                    { name: "postgres", containerPort: 5432 },
                    { name: "patroni", containerPort: 8008 },
                  ],
                  resources: resources(args.resources),
                  // Patroni itself: a clone or a crash recovery takes as long as it takes.
                  startupProbe: { ...probe("/liveness"), periodSeconds: 2, failureThreshold: 150 },
                  readinessProbe: probe("/readiness"),
                  livenessProbe: probe("/liveness"),
                  volumeMounts: [
                    { name: "data", mountPath: "/var/lib/postgresql/data" },
                    { name: secretsVolume, mountPath: secretsPath, readOnly: true },
                    ...Object.keys(configs).map((folder) => ({
                      name: folder,
                      mountPath: `/etc/groundwork/${folder}`,
                      readOnly: true,
                    })),
                    runtime.mount,
                    temporary.mount,
                    shared.mount,
                  ],
                },
                postgresExporter(args.exporterImage, this.database),
              ],
              volumes: [
                volume,
                ...Object.entries(configs).map(([folder, map]) => ({
                  name: folder,
                  configMap: { name: map.metadata.name },
                })),
                { ...runtime.volume, emptyDir: { medium: "Memory", sizeLimit: "8Mi" } },
                { ...shared.volume, emptyDir: { medium: "Memory", sizeLimit: sharedLimit } },
                temporary.volume,
              ],
            },
          },
          volumeClaimTemplates: claimTemplates(name, args.storageGiB),
        },
      },
      {
        ...child,
        ...templateAsMade,
        dependsOn: [services.primary],
        customTimeouts: { create: "5m", update: "10m" },
      },
    );
    growClaims(
      members,
      { workload: name, namespace, members: args.members, storageGiB: args.storageGiB },
      this,
    );
    allowOneEviction(this, { name, namespace, labels: metadataLabels });

    const host = (service: k8s.core.v1.Service) => serviceHost(service.metadata.name, namespace);
    // Whoever asks for the primary's address waits until there is one.
    const primary = pulumi.all([host(services.primary), members.id]).apply(([address]) => address);
    this.endpoint = { host: primary, port: 5432 };
    const everyMember = host(services.members);
    this.metrics = [
      { job: name, host: everyMember, port: 8008, pods: args.members },
      { job: "postgres-exporter", host: everyMember, port: postgresExporterPort },
    ];
    this.registerOutputs({ endpoint: this.endpoint });
  }
}

function probe(path: string): k8s.types.input.core.v1.Probe {
  return { httpGet: { path, port: "patroni" }, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 5 };
}
