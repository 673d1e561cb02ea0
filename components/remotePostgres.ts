import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { databaseUsers, loginFiles, type DatabaseUser } from "./databaseUsers.ts";
import { exporterDeployment } from "./exporterDeployment.ts";
import { postgresExporter } from "./exporters.ts";
import { manifestFiles, shortHash } from "./manifests.ts";
import {
  labels,
  replacedWhenFailed,
  resources,
  restrictedContainer,
  restrictedPod,
  scratch,
  secretsPath,
  serviceAccount,
} from "./podDefaults.ts";
import { secretsVolume, type SecretStore, type StoredSecret } from "./secrets/secretStore.ts";
import type { Endpoint, MetricsTarget } from "./types.ts";

export interface RemotePostgresArgs {
  /** Namespace of the pods that make the roles and read the figures. */
  readonly namespace: pulumi.Output<string>;
  /** Image with `psql` 17 and Python (`images/postgres`). */
  readonly image: pulumi.Input<string>;
  /** Image with the exporter (`images/exporters`). */
  readonly exporterImage: pulumi.Input<string>;
  /** Where the server answers. */
  readonly host: pulumi.Input<string>;
  readonly port: number;
  /** Who makes the database and its roles; no superuser is needed. */
  readonly admin: { readonly role: string; readonly password: StoredSecret };
  /** Authority that the server's certificate leads up to. */
  readonly ca: StoredSecret;
  /** Keeps the roles' passwords. */
  readonly secrets: SecretStore;
  /** Generations of the passwords that are valid, the one that clients use first; default the first. */
  readonly passwords?: readonly number[];
}

/** What the stack has on such a server. */
export interface RemotePostgres {
  readonly endpoint: Endpoint;
  readonly owner: DatabaseUser;
  readonly appUser: DatabaseUser;
  readonly backupUser: DatabaseUser;
  readonly ca: StoredSecret;
  readonly metrics: readonly MetricsTarget[];
}

export const databaseName = "app";
const rolesName = "postgres-roles";
const exporterName = "postgres-exporter";
const scriptsPath = "/etc/groundwork/managed-postgres";

/** Makes, under `parent`, what the stack needs of a server that does not run in its cluster: roles by a Job, and an exporter. */
export function onRemoteServer(
  parent: pulumi.Resource,
  args: RemotePostgresArgs,
  dependsOn: pulumi.Resource[],
): RemotePostgres {
  const { namespace, secrets, ca, host, port } = args;
  const users = databaseUsers(secrets, args.passwords);
  const monitoring = secrets.generate("app-monitoring-password");
  const roles = databaseRoles(parent, args, dependsOn, {
    "admin-password": args.admin.password,
    ...loginFiles(users),
    "monitoring-password": monitoring,
    "ca.crt": ca,
  });
  // Whoever asks for the server's address waits until its roles are there.
  const endpoint = { host: pulumi.all([host, roles.id]).apply(([known]) => known), port };
  const files = { "monitoring-password": monitoring, "ca.crt": ca };
  const metrics = exporterDeployment(parent, {
    name: exporterName,
    job: exporterName,
    namespace,
    container: postgresExporter(
      args.exporterImage,
      databaseName,
      pulumi.interpolate`${endpoint.host}:${port}`,
    ),
    volumes: [secrets.mount(exporterName, { namespace, files })],
  });
  const { owner, app, backup } = users;
  return {
    endpoint,
    owner,
    appUser: app,
    backupUser: backup,
    ca,
    metrics: [metrics],
  };
}

/** Makes the database and its roles, or brings them up to date; a change of the script or of the passwords is a new Job. */
function databaseRoles(
  parent: pulumi.Resource,
  args: RemotePostgresArgs,
  dependsOn: pulumi.Resource[],
  files: Readonly<Record<string, StoredSecret>>,
): k8s.batch.v1.Job {
  const { namespace, host, port, admin } = args;
  const { "logins.sql": logins = "", "verifiers.py": verifiers = "" } = manifestFiles("patroni");
  const data = { ...manifestFiles("managed-postgres"), "logins.sql": logins, "verifiers.py": verifiers };
  const metadata = (objectName: string) => ({
    name: objectName,
    namespace,
    labels: labels(rolesName, "roles"),
  });
  const scripts = new k8s.core.v1.ConfigMap(rolesName, { metadata: metadata(rolesName), data }, { parent });
  const hash = shortHash(JSON.stringify([data, Object.values(files).map((file) => file.name)]));
  const temporary = scratch("tmp", "/tmp", 1);
  return new k8s.batch.v1.Job(
    rolesName,
    {
      metadata: { ...metadata(`${rolesName}-${hash}`), annotations: replacedWhenFailed },
      spec: {
        backoffLimit: 6,
        activeDeadlineSeconds: 600,
        template: {
          metadata: { labels: labels(rolesName, "roles") },
          spec: {
            ...restrictedPod,
            serviceAccountName: serviceAccount(parent, rolesName, namespace),
            restartPolicy: "Never",
            containers: [
              {
                ...restrictedContainer,
                name: rolesName,
                image: args.image,
                command: ["/bin/sh", `${scriptsPath}/roles.sh`],
                env: [
                  { name: "PGHOST", value: host },
                  { name: "PGPORT", value: String(port) },
                  { name: "PGUSER", value: admin.role },
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
    { parent, dependsOn, deleteBeforeReplace: true, customTimeouts: { create: "12m" } },
  );
}
