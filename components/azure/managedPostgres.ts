import * as postgresql from "@pulumi/azure-native/dbforpostgresql";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { postgresExporter } from "../exporters";
import { exporterDeployment } from "../exporterDeployment";
import { manifestFiles, shortHash } from "../manifests";
import {
  labels,
  resources,
  restrictedContainer,
  restrictedPod,
  scratch,
  secretsPath,
  serviceAccount,
} from "../podDefaults";
import { databaseUsers, loginFiles, type DatabaseUser } from "../databaseUsers";
import { secretsVolume, type SecretStore, type StoredSecret } from "../secrets/secretStore";
import type { Endpoint, MetricsTarget } from "../types";
import type { ManagedHost } from "./managed";

export interface ManagedPostgresArgs {
  /** Namespace of the pods that make the roles and read the figures. */
  readonly namespace: pulumi.Output<string>;
  /** Image with `psql` 17 (`images/postgres`). */
  readonly image: pulumi.Input<string>;
  /** Image with the exporter (`images/exporters`). */
  readonly exporterImage: pulumi.Input<string>;
  /** Compute size, such as `Standard_D2ds_v5`. */
  readonly sku: string;
  /** Storage, GiB; one of Azure's sizes. */
  readonly storageGiB: number;
  /** Days that a point in time can be restored from, 7 to 35. */
  readonly retentionDays: number;
  /** Keeps the backups in the paired region, too; only at creation. */
  readonly geoRedundantBackup: boolean;
  /** Where the standby runs. */
  readonly highAvailability: "zoneRedundant" | "sameZone";
  readonly host: ManagedHost;
  /** Authority that the server's certificate leads up to. */
  readonly ca: StoredSecret;
  /** Keeps the roles' passwords. */
  readonly secrets: SecretStore;
  /** Generations of the passwords that are valid, the one that clients use first; default the first. */
  readonly passwords?: readonly number[];
}

const name = "postgres";
const rolesName = "postgres-roles";
const exporterName = "postgres-exporter";
const adminLogin = "groundwork_admin";
const port = 5432;
const scriptsPath = "/etc/groundwork/managed-postgres";

/**
 * Azure Database for PostgreSQL, flexible server, behind what `Postgres` offers: a standby that takes over, backups to a
 * point in time, reached by a private endpoint and over TLS only. A Job makes the same roles as on a server of our own.
 */
export class ManagedPostgres extends pulumi.ComponentResource {
  readonly endpoint: Endpoint;
  readonly database = "app";
  /** Owns and migrates the schema. */
  readonly owner: DatabaseUser;
  /** The app; row-level security holds for it. */
  readonly appUser: DatabaseUser;
  /** Reads everything for dumps. */
  readonly backupUser: DatabaseUser;
  readonly ca: StoredSecret;
  readonly metrics: readonly MetricsTarget[];

  constructor(resourceName: string, args: ManagedPostgresArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:azure:ManagedPostgres", resourceName, {}, opts);
    const { namespace, secrets, host } = args;
    const users = databaseUsers(secrets, args.passwords);
    this.owner = users.owner;
    this.appUser = users.app;
    this.backupUser = users.backup;
    this.ca = args.ca;
    const admin = secrets.generate("postgres-admin-password");
    const monitoring = secrets.generate("app-monitoring-password");

    const { server, ready } = this.server(args, admin);
    const address = server.fullyQualifiedDomainName;
    const roles = this.roles(args, address, ready, {
      "admin-password": admin,
      ...loginFiles(users),
      "monitoring-password": monitoring,
      "ca.crt": this.ca,
    });
    // Whoever asks for the server's address waits until its roles are there.
    this.endpoint = { host: pulumi.all([address, roles.id]).apply(([known]) => known), port };

    const files = { "monitoring-password": monitoring, "ca.crt": this.ca };
    this.metrics = [
      exporterDeployment(this, {
        name: exporterName,
        job: exporterName,
        namespace,
        container: postgresExporter(
          args.exporterImage,
          this.database,
          pulumi.interpolate`${this.endpoint.host}:${port}`,
        ),
        volumes: [secrets.mount(exporterName, { namespace, files })],
      }),
    ];
    host.logs.log(name, server.id, { categories: ["PostgreSQLLogs"] });
    this.registerOutputs({ endpoint: this.endpoint });
  }

  private server(args: ManagedPostgresArgs, admin: StoredSecret) {
    const { resourceGroupName, location, network, uniqueName } = args.host;
    const child = { parent: this };
    const server = new postgresql.Server(
      name,
      {
        resourceGroupName,
        location,
        serverName: uniqueName("postgres"),
        version: "17",
        sku: {
          name: args.sku,
          tier: args.sku.startsWith("Standard_E") ? "MemoryOptimized" : "GeneralPurpose",
        },
        storage: { storageSizeGB: args.storageGiB, autoGrow: "Enabled" },
        highAvailability: { mode: args.highAvailability === "zoneRedundant" ? "ZoneRedundant" : "SameZone" },
        backup: {
          backupRetentionDays: args.retentionDays,
          geoRedundantBackup: args.geoRedundantBackup ? "Enabled" : "Disabled",
        },
        network: { publicNetworkAccess: "Disabled" },
        authConfig: { passwordAuth: "Enabled", activeDirectoryAuth: "Disabled" },
        administratorLogin: adminLogin,
        ...(admin.value && { administratorLoginPassword: admin.value }),
        createMode: "Create",
      },
      // Its backups go with it.
      { ...child, protect: true },
    );
    const setting = (configurationName: string, value: string, after: pulumi.Resource) =>
      new postgresql.Configuration(
        `${name}-${configurationName.replaceAll(/[._]/g, "-")}`,
        { resourceGroupName, serverName: server.name, configurationName, value, source: "user-override" },
        { ...child, dependsOn: [after] },
      );
    // One after the other: Azure refuses two changes of one server at once.
    const extensions = setting("azure.extensions", "BTREE_GIN,PG_STAT_STATEMENTS", server);
    const encrypted = setting("require_secure_transport", "on", extensions);
    const names = network.privateEndpoint("postgres", server.id);
    return { server, ready: [encrypted, ...(names ? [names] : [])] };
  }

  /** Makes the database and its roles, or brings them up to date; a change of the script or of the passwords is a new Job. */
  private roles(
    args: ManagedPostgresArgs,
    address: pulumi.Output<string>,
    dependsOn: pulumi.Resource[],
    files: Readonly<Record<string, StoredSecret>>,
  ): k8s.batch.v1.Job {
    const { namespace } = args;
    const logins = manifestFiles("patroni")["logins.sql"] ?? "";
    const data = { ...manifestFiles("managed-postgres"), "logins.sql": logins };
    const metadata = (objectName: string) => ({
      name: objectName,
      namespace,
      labels: labels(rolesName, "roles"),
    });
    const scripts = new k8s.core.v1.ConfigMap(
      rolesName,
      { metadata: metadata(rolesName), data },
      { parent: this },
    );
    const hash = shortHash(JSON.stringify([data, Object.values(files).map((file) => file.name)]));
    const temporary = scratch("tmp", "/tmp", 1);
    return new k8s.batch.v1.Job(
      rolesName,
      {
        metadata: metadata(`${rolesName}-${hash}`),
        spec: {
          backoffLimit: 6,
          activeDeadlineSeconds: 600,
          template: {
            metadata: { labels: labels(rolesName, "roles") },
            spec: {
              ...restrictedPod,
              serviceAccountName: serviceAccount(this, rolesName, namespace),
              restartPolicy: "Never",
              containers: [
                {
                  ...restrictedContainer,
                  name: rolesName,
                  image: args.image,
                  command: ["/bin/sh", `${scriptsPath}/roles.sh`],
                  env: [
                    { name: "PGHOST", value: address },
                    { name: "PGPORT", value: String(port) },
                    { name: "PGUSER", value: adminLogin },
                    { name: "PGSSLMODE", value: "verify-full" },
                    { name: "PGSSLROOTCERT", value: `${secretsPath}/ca.crt` },
                  ],
                  resources: resources({ cpuMillis: 50, memoryMiB: 64 }),
                  volumeMounts: [
                    { name: secretsVolume, mountPath: secretsPath, readOnly: true },
                    { name: "scripts", mountPath: scriptsPath, readOnly: true },
                    temporary.mount,
                  ],
                },
              ],
              volumes: [
                args.secrets.mount(rolesName, { namespace, files }),
                { name: "scripts", configMap: { name: scripts.metadata.name } },
                { ...temporary.volume, emptyDir: { medium: "Memory", sizeLimit: "1Mi" } },
              ],
            },
          },
        },
      },
      { parent: this, dependsOn, deleteBeforeReplace: true, customTimeouts: { create: "12m" } },
    );
  }
}
