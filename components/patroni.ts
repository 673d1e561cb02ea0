import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { parse, stringify } from "yaml";
import { z } from "zod";

import { manifestFiles } from "./manifests.ts";
import { labels, selector } from "./podDefaults.ts";
import { memorySettings } from "./postgresSettings.ts";
import type { Resources } from "./types.ts";

/** Name of the members, and of Patroni's scope: its Endpoints are called so. */
export const postgresName = "postgres";
export const postgresLabels = labels(postgresName, "database");

/** Besides the leader's, in `postgres` itself. */
const states = ["config", "failover", "sync"].map((state) => `${postgresName}-${state}`);

/** `postgres` and its siblings have no selector: Patroni writes their Endpoints, and keeps its state in them. */
export function patroniServices(
  parent: pulumi.Resource,
  namespace: pulumi.Output<string>,
): Record<"primary" | "members", k8s.core.v1.Service> {
  const service = (serviceName: string, spec: k8s.types.input.core.v1.ServiceSpec) =>
    new k8s.core.v1.Service(
      serviceName,
      // Their endpoints appear with the first leader, which must not be waited for before it can start.
      {
        metadata: {
          name: serviceName,
          namespace,
          labels: postgresLabels,
          annotations: { "pulumi.com/skipAwait": "true" },
        },
        spec,
      },
      { parent },
    );
  for (const state of states) service(state, { clusterIP: "None" });
  return {
    primary: service(postgresName, { ports: [{ name: "postgres", port: 5432 }] }),
    members: service(`${postgresName}-members`, {
      clusterIP: "None",
      publishNotReadyAddresses: true,
      selector: selector(postgresName),
      ports: [
        { name: "postgres", port: 5432 },
        { name: "patroni", port: 8008 },
      ],
    }),
  };
}

/**
 * What Patroni may do: look around in its own namespace, and change its own pods and Endpoints alone, as whoever changes another
 * pod's image has that pod's secrets. `annotations` are the service account's.
 */
export function patroniAccess(
  parent: pulumi.Resource,
  namespace: pulumi.Output<string>,
  members: number,
  annotations: Readonly<Record<string, pulumi.Input<string>>>,
): k8s.core.v1.ServiceAccount {
  const metadata = { name: postgresName, namespace, labels: postgresLabels };
  const account = new k8s.core.v1.ServiceAccount(
    postgresName,
    { metadata: { ...metadata, annotations } },
    { parent },
  );
  const role = new k8s.rbac.v1.Role(
    postgresName,
    {
      metadata,
      rules: [
        { apiGroups: [""], resources: ["endpoints", "pods"], verbs: ["get", "list", "watch"] },
        // Nothing can be made under a name that is told beforehand.
        { apiGroups: [""], resources: ["endpoints"], verbs: ["create"] },
        {
          apiGroups: [""],
          resources: ["endpoints"],
          resourceNames: [postgresName, ...states],
          verbs: ["patch", "update", "delete"],
        },
        {
          apiGroups: [""],
          resources: ["pods"],
          resourceNames: Array.from({ length: members }, (_, index) => `${postgresName}-${index}`),
          verbs: ["patch", "update"],
        },
        // A member that stops looks whether it is still wanted (leave.py).
        { apiGroups: ["apps"], resources: ["statefulsets"], resourceNames: [postgresName], verbs: ["get"] },
      ],
    },
    { parent },
  );
  new k8s.rbac.v1.RoleBinding(
    postgresName,
    {
      metadata,
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: role.metadata.name },
      subjects: [{ kind: "ServiceAccount", name: account.metadata.name, namespace }],
    },
    { parent },
  );
  return account;
}

const patroniFile = z.object({
  bootstrap: z.object({ dcs: z.looseObject({ postgresql: z.looseObject({}) }) }),
});

/** Patroni configuration that follows from the arguments, as files. */
export function patroniSettings(args: {
  readonly members: number;
  readonly resources: Resources;
  readonly storageGiB: number;
  readonly maxConnections: number;
}): Record<"settings.yml" | "cluster.yml", string> {
  const { bootstrap } = patroniFile.parse(parse(manifestFiles("patroni")["patroni.yml"] ?? ""));
  // What all members share, whole: whoever applies it may be faster than the bootstrap, which then leaves it as it is.
  // With one member there is nobody to wait for; with more, no write is acknowledged that only one has, even when the
  // others are away.
  const cluster = {
    ...bootstrap.dcs,
    synchronous_mode: args.members > 1 ? "quorum" : "off",
    synchronous_mode_strict: args.members > 1,
    postgresql: {
      ...bootstrap.dcs.postgresql,
      parameters: {
        max_connections: args.maxConnections,
        // What is kept for a member that stays away may take a quarter of the volumes of those that serve, and not all.
        max_slot_wal_keep_size: `${args.storageGiB * 256}MB`,
        // What the primary may have left unsent to the archive when it is lost, and the next one then sends (archive.py).
        wal_keep_size: `${args.storageGiB * 128}MB`,
      },
    },
  };
  return {
    "settings.yml": stringify({
      bootstrap: { dcs: cluster },
      postgresql: { parameters: memorySettings(args.resources.memoryMiB, args.maxConnections) },
    }),
    "cluster.yml": stringify(cluster),
  };
}
