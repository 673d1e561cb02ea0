import * as pulumi from "@pulumi/pulumi";

import type { DatabaseUser } from "./databaseUsers.ts";
import { databaseName, onRemoteServer, type RemotePostgresArgs } from "./remotePostgres.ts";
import type { StoredSecret } from "./secrets/secretStore.ts";
import type { Endpoint, MetricsTarget } from "./types.ts";

/** A PostgreSQL that somebody else runs: the stack makes its database and roles there, and looks after nothing else of it. */
export class ExistingPostgres extends pulumi.ComponentResource {
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

  constructor(resourceName: string, args: RemotePostgresArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:data:ExistingPostgres", resourceName, {}, opts);
    const { endpoint, owner, appUser, backupUser, ca, metrics } = onRemoteServer(this, args, []);
    this.endpoint = endpoint;
    this.owner = owner;
    this.appUser = appUser;
    this.backupUser = backupUser;
    this.ca = ca;
    this.metrics = metrics;
    this.registerOutputs({ endpoint });
  }
}
