import * as pulumi from "@pulumi/pulumi";
import type * as k8s from "@pulumi/kubernetes";

/** A secret that a store keeps; pods reach it through `SecretStore.mount`. */
export interface StoredSecret {
  /** Name in the store. */
  readonly name: string;
  /** The value, marked secret; absent when the store holds it and the program never sees it. */
  readonly value?: pulumi.Output<string>;
}

/** Which secrets one workload reads, and as which files. */
export interface SecretMountArgs {
  /** Namespace of the pods. */
  readonly namespace: pulumi.Input<string>;
  /** File name → secret. */
  readonly files: Readonly<Record<string, StoredSecret>>;
}

/**
 * Where secrets live. Kubernetes Secrets in development, Azure Key Vault in production: the choice is made once, in
 * `index.ts`; every component sees only this, and every process sees only files under `secretsPath`.
 */
export interface SecretStore {
  /** Where a store that is not the cluster's own answers, `https://<host>`. */
  readonly url?: pulumi.Output<string>;
  /** Generates a password once and keeps it; letters and digits only, so that it needs no quoting anywhere. */
  generate(name: string, length?: number): StoredSecret;
  /** Keeps a value that was made elsewhere; without one, it names what somebody has put into the store already. */
  keep(name: string, value?: pulumi.Input<string>): StoredSecret;
  /** A pod volume that holds one file per secret, for the workload `name`. */
  mount(name: string, args: SecretMountArgs): k8s.types.input.core.v1.Volume;
}

/** Name of the volume that `SecretStore.mount` returns. */
export const secretsVolume = "secrets";
