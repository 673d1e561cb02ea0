/** What claims volumes: of a StatefulSet's members, made from its template and grown with the configuration, and of single pods. */
import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import { selector } from "./podDefaults.ts";

const claimName = "data";

/** A claim of `storage`, such as `4Gi`, for one node at a time. */
export const claimOf = (storage: string) => ({
  accessModes: ["ReadWriteOnce"],
  resources: { requests: { storage } },
});

/** `volumeClaimTemplates` of the workload's StatefulSet: one volume a member, mounted as `data`. */
export function claimTemplates(
  workload: string,
  storageGiB: number,
): k8s.types.input.core.v1.PersistentVolumeClaim[] {
  return [{ metadata: { name: claimName, labels: selector(workload) }, spec: claimOf(`${storageGiB}Gi`) }];
}

/** Of a StatefulSet with claims: its template cannot be changed, another size would replace it. {@link growClaims} grows them. */
export const templateAsMade = { ignoreChanges: ["spec.volumeClaimTemplates"] };

export interface ClaimSizes {
  /** Name of the StatefulSet. */
  readonly workload: string;
  readonly namespace: pulumi.Input<string>;
  readonly members: number;
  readonly storageGiB: number;
}

/**
 * Has each member's claim ask for `storageGiB`, while its server runs. The API server refuses less than a claim has, and
 * more where the storage class does not allow expansion. Claims are the StatefulSet's: what is deleted here leaves them.
 */
export function growClaims(set: k8s.apps.v1.StatefulSet, sizes: ClaimSizes, parent: pulumi.Resource): void {
  for (let member = 0; member < sizes.members; member += 1) {
    const name = `${claimName}-${sizes.workload}-${member}`;
    new k8s.core.v1.PersistentVolumeClaimPatch(
      name,
      {
        // The size was the StatefulSet's to say when it made the claim.
        metadata: {
          name,
          namespace: sizes.namespace,
          annotations: { "pulumi.com/patchForce": "true" },
        },
        spec: claimOf(`${sizes.storageGiB}Gi`),
      },
      { parent, dependsOn: set, retainOnDelete: true },
    );
  }
}
