import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";

/** Which cluster to work on. */
export type ClusterAccess =
  | { /** Context of the kubeconfig at hand. */ readonly context: string }
  | {
      /** Kubeconfig of a cluster that the stack made; secret. */
      readonly kubeconfig: pulumi.Input<string>;
      /** What tells one cluster from another, however it is reached. */
      readonly clusterIdentifier: pulumi.Input<string>;
      /** What must be there before anything is made in it. */
      readonly dependsOn: pulumi.Resource[];
    };

/**
 * The provider of every Kubernetes object: bound to one context of the kubeconfig or to the cluster that the stack
 * made, so that no other can be touched by mistake.
 */
export function clusterProvider(access: ClusterAccess, production = false): k8s.Provider {
  const { dependsOn, ...cluster } =
    "context" in access ? { ...access, clusterIdentifier: access.context, dependsOn: [] } : access;
  const settings: k8s.ProviderArgs = {
    ...cluster,
    enableServerSideApply: true,
    // A change of a ConfigMap or Secret updates it in place; pods roll by the checksum in their template.
    enableConfigMapMutable: true,
    enableSecretMutable: true,
  };
  // Another cluster means another provider: protected, that is refused instead of moving a production stack there.
  return new k8s.Provider("cluster", settings, { protect: production, dependsOn });
}
