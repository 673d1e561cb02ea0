import { RoleAssignment } from "@pulumi/azure-native/authorization/roleAssignment.js";
import * as pulumi from "@pulumi/pulumi";
import { createHash } from "node:crypto";

/** Fixed ids of Azure's built-in roles, the only ones that the stack grants. */
export const builtInRoles = {
  acrPull: "7f951dda-4ed3-4680-a7ca-43fe172d538d",
  keyVaultCryptoServiceEncryptionUser: "e147488a-f6f5-4113-8e2d-b22465e65bf6",
  keyVaultSecretsUser: "4633458b-17de-408a-b874-0445c86b69e6",
  networkContributor: "4d97b98b-1d4f-4787-a291-c67834d212e7",
  storageBlobDataContributor: "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
  storageBlobDataReader: "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
} as const;

export type RoleName = keyof typeof builtInRoles;

/** What each workload may do with the container of backups; who is not listed may do nothing. */
export const blobRoles: Readonly<Record<string, RoleName>> = {
  // Archives its write-ahead log.
  postgres: "storageBlobDataContributor",
  backup: "storageBlobDataContributor",
  "backup-base": "storageBlobDataContributor",
  // Writes the result of each verification beside the dumps.
  "backup-verify": "storageBlobDataContributor",
  // Deletes what is older than it is kept; the container's immutability bounds it.
  "backup-retention": "storageBlobDataContributor",
  "backup-restore": "storageBlobDataReader",
  "backup-exporter": "storageBlobDataReader",
};

export interface Grant {
  /** Object id of the identity that is granted the role. */
  readonly principalId: pulumi.Input<string>;
  readonly role: RoleName;
  /** Resource that the role holds for. */
  readonly scope: pulumi.Input<string>;
  /** Subscription of the stack; goes into the assignment's name, which must be unique in the tenant. */
  readonly subscriptionId: string;
}

/** Grants one role on one resource. `name` says who gets what on what. */
export function grant(
  name: string,
  { principalId, role, scope, subscriptionId }: Grant,
  opts: pulumi.CustomResourceOptions,
): RoleAssignment {
  return new RoleAssignment(
    name,
    {
      // Unique in the tenant for as long as it is there, and some outlive the stack: another installation has other identities.
      roleAssignmentName: pulumi
        .output(principalId)
        .apply((id) => fixedGuid(subscriptionId, pulumi.getProject(), pulumi.getStack(), name, id)),
      principalId,
      // Without it Azure looks a new identity up in the directory, where it may not have arrived yet.
      principalType: "ServicePrincipal",
      roleDefinitionId: `/subscriptions/${subscriptionId}/providers/Microsoft.Authorization/roleDefinitions/${builtInRoles[role]}`,
      scope,
    },
    // The name is fixed, so a replacement cannot exist beside what it replaces.
    { ...opts, deleteBeforeReplace: true },
  );
}

/** A GUID that follows from its parts (as UUID version 8). */
export function fixedGuid(...parts: readonly string[]): string {
  const hex = createHash("sha256").update(parts.join("\n")).digest("hex");
  const variant = ((parseInt(hex.slice(16, 18), 16) & 0x3f) | 0x80).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(18, 20)}-${hex.slice(20, 32)}`;
}
