import type * as pulumi from "@pulumi/pulumi";

import { secretsPath } from "./podDefaults.ts";
import type { StoredSecret } from "./secrets/secretStore.ts";

/** How pods prove to a blob store who they are. */
export type BlobAccess =
  | {
      readonly kind: "connectionString";
      /** Connection string with the account's key: the emulator, which knows no identities. */
      readonly secret: StoredSecret;
      /** PEM of the authority of the store's certificate, which no client knows by itself. */
      readonly ca: StoredSecret;
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

/** What a workload and its pods carry, so that the store knows them and they find it. */
export interface BlobClient {
  /** Of the service account. */
  readonly annotations: Readonly<Record<string, pulumi.Input<string>>>;
  /** Of the pods. */
  readonly labels: Readonly<Record<string, string>>;
  /** File name → secret. */
  readonly files: Readonly<Record<string, StoredSecret>>;
  readonly env: Readonly<Record<string, pulumi.Input<string>>>;
}

/** Lets the workload into the store, as the service account of its name; ask once for each. */
export function blobClient(
  { endpoint, container, access }: BlobStore,
  workload: string,
  namespace: pulumi.Input<string>,
): BlobClient {
  const env = { BLOB_ENDPOINT: endpoint, BLOB_CONTAINER: container };
  if (access.kind === "connectionString")
    return {
      annotations: {},
      labels: {},
      files: { "azure-connection-string": access.secret, "blob-store-ca.crt": access.ca },
      // Azure's libraries connect by `requests`.
      env: { ...env, REQUESTS_CA_BUNDLE: `${secretsPath}/blob-store-ca.crt` },
    };
  const clientId = access.clientId(workload, namespace);
  return {
    annotations: { "azure.workload.identity/client-id": clientId },
    labels: { "azure.workload.identity/use": "true" },
    files: {},
    env,
  };
}
