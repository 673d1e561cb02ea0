import { Configuration } from "@pulumi/azure-native/dbforpostgresql/configuration.js";
import { Server } from "@pulumi/azure-native/dbforpostgresql/server.js";
import * as pulumi from "@pulumi/pulumi";

import type { DatabaseUser } from "../databaseUsers.ts";
import { databaseName, onRemoteServer, type RemotePostgresArgs } from "../remotePostgres.ts";
import type { StoredSecret } from "../secrets/secretStore.ts";
import type { Endpoint, MetricsTarget } from "../types.ts";
import type { ManagedHost } from "./managed.ts";

export interface ManagedPostgresArgs extends Omit<RemotePostgresArgs, "host" | "port" | "admin"> {
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
}

const name = "postgres";
const adminLogin = "groundwork_admin";
const port = 5432;

/**
 * Azure Database for PostgreSQL, flexible server, behind what `Postgres` offers: a standby that takes over, backups to a
 * point in time, reached by a private endpoint and over TLS only. A Job makes the same roles as on a server of our own.
 */
export class ManagedPostgres extends pulumi.ComponentResource {
  readonly endpoint: Endpoint;
  readonly database = databaseName;
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
    const { secrets, host } = args;
    this.ca = args.ca;
    const admin = secrets.generate("postgres-admin-password");
    const { server, ready } = this.server(args, admin);
    const remote = onRemoteServer(
      this,
      { ...args, host: server.fullyQualifiedDomainName, port, admin: { role: adminLogin, password: admin } },
      ready,
    );
    this.owner = remote.owner;
    this.appUser = remote.appUser;
    this.backupUser = remote.backupUser;
    this.endpoint = remote.endpoint;
    this.metrics = remote.metrics;
    host.logs.log(name, server.id, { categories: ["PostgreSQLLogs"] });
    this.registerOutputs({ endpoint: this.endpoint });
  }

  private server(args: ManagedPostgresArgs, admin: StoredSecret) {
    const { resourceGroupName, location, network, uniqueName } = args.host;
    const child = { parent: this };
    const server = new Server(
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
    const names = network.privateEndpoint("postgres", server.id);
    // TLS alone is what Azure begins with.
    const extensions = new Configuration(
      `${name}-azure-extensions`,
      {
        resourceGroupName,
        serverName: server.name,
        configurationName: "azure.extensions",
        value: "BTREE_GIN,PG_STAT_STATEMENTS",
        source: "user-override",
      },
      // Azure refuses a change of a server that is busy with another one.
      { ...child, dependsOn: [names] },
    );
    return { server, ready: [extensions] };
  }
}
