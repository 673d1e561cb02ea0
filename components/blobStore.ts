import type * as pulumi from "@pulumi/pulumi";

import type { StoredSecret } from "./secrets/secretStore";

/** How pods prove to a blob store who they are. */
export type BlobAccess =
  | {
      readonly kind: "connectionString";
      /** Connection string with the account's key: the emulator, which knows no identities. */
      readonly secret: StoredSecret;
    }
  | {
      readonly kind: "workloadIdentity";
      /** Client id of the managed identity of a workload, whose service account has the same name; asked for once. */
      readonly clientId: (workload: string, namespace: pulumi.Input<string>) => pulumi.Input<string>;
    };

/** A container of Azure Blob Storage, or of its emulator in development. */
export interface BlobStore {
  /** URL of the account's blob service, such as `https://account.blob.core.windows.net`. */
  readonly endpoint: pulumi.Input<string>;
  /** Name of the container. */
  readonly container: pulumi.Input<string>;
  readonly access: BlobAccess;
  /** Days in which nobody can delete a blob; 0: the store has no such policy. */
  readonly immutableDays: number;
}
