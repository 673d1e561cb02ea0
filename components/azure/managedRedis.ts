import { Database } from "@pulumi/azure-native/redisenterprise/database.js";
import { listDatabaseKeysOutput } from "@pulumi/azure-native/redisenterprise/listDatabaseKeys.js";
import { RedisEnterprise } from "@pulumi/azure-native/redisenterprise/redisEnterprise.js";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { exporterDeployment } from "../exporterDeployment.ts";
import { redisExporter } from "../exporters.ts";
import { manifestFiles } from "../manifests.ts";
import { rotatedPassword, type Password } from "../passwords.ts";
import { labels, scratch } from "../podDefaults.ts";
import type { SecretStore, StoredSecret } from "../secrets/secretStore.ts";
import type { Endpoint, MetricsTarget } from "../types.ts";
import type { ManagedHost } from "./managed.ts";

export interface ManagedRedisArgs {
  /** Namespace of the pod that reads its figures. */
  readonly namespace: pulumi.Output<string>;
  /** Image with the exporter (`images/exporters`). */
  readonly exporterImage: pulumi.Input<string>;
  /** `queue` keeps every job on disk and refuses writes when full; `cache` keeps nothing and evicts. */
  readonly purpose: "queue" | "cache";
  /** Size, such as `Balanced_B3`. */
  readonly sku: string;
  readonly host: ManagedHost;
  /** Authority that its certificate leads up to. */
  readonly ca: StoredSecret;
  /** Keeps the password. */
  readonly secrets: SecretStore;
  /** Generations of the password, the one that clients use first: odd ones are Azure's first key; default the first. */
  readonly passwords?: readonly number[];
}

const port = 10_000;
const databaseName = "default";

/**
 * Azure Managed Redis behind what `Redis` offers: replicated over the zones of its region, reached by a private endpoint
 * and over TLS only. It is not clustered, as a queue's scripts touch several keys at once.
 */
export class ManagedRedis extends pulumi.ComponentResource {
  readonly endpoint: Endpoint;
  /** Whom an access key signs in. */
  readonly user = "default";
  readonly password: Password;
  readonly ca: StoredSecret;
  /** None: Azure moves the primary behind one address. */
  readonly sentinels: readonly Endpoint[] = [];
  readonly metrics: MetricsTarget;

  constructor(resourceName: string, args: ManagedRedisArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:azure:ManagedRedis", resourceName, {}, opts);
    const { namespace, purpose, secrets, host } = args;
    const { resourceGroupName, location } = host;
    const name = `redis-${purpose}`;
    const child = { parent: this };
    this.ca = args.ca;

    const cluster = new RedisEnterprise(
      name,
      {
        resourceGroupName,
        location,
        clusterName: host.uniqueName(purpose),
        sku: { name: args.sku },
        highAvailability: "Enabled",
        minimumTlsVersion: "1.2",
        publicNetworkAccess: "Disabled",
      },
      { ...child, protect: purpose === "queue" },
    );
    const database = new Database(
      name,
      {
        resourceGroupName,
        clusterName: cluster.name,
        databaseName,
        port,
        clientProtocol: "Encrypted",
        clusteringPolicy: "NoCluster",
        accessKeysAuthentication: "Enabled",
        evictionPolicy: purpose === "queue" ? "NoEviction" : "AllKeysLRU",
        ...(purpose === "queue" && { persistence: { aofEnabled: true, aofFrequency: "1s" } }),
      },
      { ...child, protect: purpose === "queue" },
    );
    const keys = listDatabaseKeysOutput(
      { resourceGroupName, clusterName: cluster.name, databaseName: database.name },
      child,
    );
    // Azure takes both of its keys at any time: the two by turns.
    const key = (kept: string, generation: number) =>
      secrets.keep(
        kept,
        pulumi.secret(
          keys.apply(({ primaryKey, secondaryKey }) => (generation % 2 === 0 ? secondaryKey : primaryKey)),
        ),
      );
    this.password = rotatedPassword(key, `${name}-password`, args.passwords);
    const names = host.network.privateEndpoint("redis", cluster.id, name);
    // Whoever asks for the address waits until it leads to the private endpoint.
    const address = pulumi.all([cluster.hostName, database.id, names.id]).apply(([known]) => known);
    this.endpoint = { host: address, port };

    const exporterName = `${name}-exporter`;
    const config = new k8s.core.v1.ConfigMap(
      exporterName,
      {
        metadata: { name: exporterName, namespace, labels: labels(exporterName, "exporter") },
        data: manifestFiles("redis"),
      },
      child,
    );
    const runtime = scratch("run", "/run/redis", 1);
    const mounts = [{ name: "config", mountPath: "/etc/groundwork/redis", readOnly: true }, runtime.mount];
    const server = pulumi.interpolate`${address}:${port}`;
    this.metrics = exporterDeployment(this, {
      name: exporterName,
      job: name,
      namespace,
      container: redisExporter(args.exporterImage, mounts, { server, user: this.user }),
      volumes: [
        secrets.mount(exporterName, {
          namespace,
          files: { "monitoring-password": this.password, "ca.crt": this.ca },
        }),
        { name: "config", configMap: { name: config.metadata.name } },
        { ...runtime.volume, emptyDir: { medium: "Memory", sizeLimit: "1Mi" } },
      ],
    });
    host.logs.log(name, database.id, { groups: ["allLogs"] });
    this.registerOutputs({ endpoint: this.endpoint });
  }
}
