import type * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";

import { clusterProvider, type ClusterAccess } from "./cluster.ts";
import type { StackConfig } from "./config.ts";
import { flowsOf, stackFlows, watchedBy } from "./flows.ts";
import { StackNamespaces } from "./namespaces.ts";
import { NetworkPolicies } from "./networkPolicies.ts";
import { PullSecrets } from "./pullSecrets.ts";
import { ClusterShares } from "./shares.ts";
import type { Namespaces } from "./types.ts";

/** What everything else of the stack stands on. */
export interface Foundation {
  readonly provider: k8s.Provider;
  readonly namespaces: Namespaces;
  /** Options under which pods are made: after what closes them in, pulling with the stack's secrets, of their priority. */
  readonly guarded: {
    readonly provider: k8s.Provider;
    readonly dependsOn: pulumi.Resource[];
    readonly transformations: pulumi.ResourceTransformation[];
  };
}

/**
 * The cluster, and in it the namespaces, closed but for the listed flows. No component itself, so that their names in the
 * state do not hang on it.
 * @param made how to reach the cluster that the stack made; without it, the configured context
 */
export function foundation(config: StackConfig, made?: ClusterAccess): Foundation {
  const { context = "", apiServerCidrs } = config.cluster;
  const cilium = made !== undefined || config.cluster.cilium;
  const retainData = config.environment === "production";
  const provider = clusterProvider(made ?? { context }, retainData);
  const nodeAgents = config.logging.enabled;
  const { names: namespaces } = new StackNamespaces("namespaces", { nodeAgents, retainData }, { provider });
  const { postgres, redis, monitoring } = config;
  const open = watchedBy(
    monitoring.existing,
    stackFlows(postgres.kind, redis.kind, flowsOf(config), postgres.existing?.port),
  );
  const others = {
    ingressController: config.edge.controller.namespace,
    existingPrometheus: monitoring.existing?.namespace,
  };
  const closed = { namespaces, ...open, apiServerCidrs, cilium, others };
  const network = new NetworkPolicies("network", closed, { provider });
  const pulls = { namespaces, names: config.pullSecrets, credentials: config.registryCredentials };
  const pulling = new PullSecrets("pull-secrets", pulls, { provider });
  const { priorityClasses, quotas } = config.cluster;
  const shares = new ClusterShares("shares", { namespaces, priorityClasses, quotas }, { provider });
  const transformations = [...pulling.transformations, ...shares.transformations];
  return {
    provider,
    namespaces,
    guarded: { provider, dependsOn: [network, shares, pulling], transformations },
  };
}
