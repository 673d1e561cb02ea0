import * as k8s from "@pulumi/kubernetes";

/**
 * The provider of every Kubernetes object: bound to the named context of the kubeconfig, so that no other cluster can be
 * touched by mistake.
 */
export function clusterProvider(context: string): k8s.Provider {
  return new k8s.Provider("cluster", {
    context,
    clusterIdentifier: context,
    enableServerSideApply: true,
    // A change of a ConfigMap or Secret updates it in place; pods roll by the checksum in their template.
    enableConfigMapMutable: true,
    enableSecretMutable: true,
  });
}
