import type * as pulumi from "@pulumi/pulumi";

import { NginxIngress, type NginxIngressArgs } from "./ingress";
import { ControllerIngress, type ControllerIngressArgs } from "./ingressController";
import type { ProbedEdge } from "./monitoring/blackbox";
import type { MetricsTarget } from "./types";

export interface EdgeArgs extends NginxIngressArgs, ControllerIngressArgs {
  /** An nginx of our own, or Ingress objects for the controller that the cluster has (docs/edge.md). */
  readonly mode: "nginx" | "controller";
}

/** What the stack knows of its edge, whichever it is. */
export interface Edge {
  /** Base URL, by the first host. */
  readonly url: string;
  /** How a client inside the cluster reaches it as users do. */
  readonly probed: ProbedEdge;
  /** Nothing where the edge is a shared controller: its figures are not this stack's. */
  readonly metrics: readonly MetricsTarget[];
}

/** Makes the edge. No component itself, so that the names in the state do not hang on it. */
export function makeEdge(name: string, args: EdgeArgs, opts: pulumi.ComponentResourceOptions): Edge {
  const { mode, controller, hosts, upstreams, limits, tlsBundle, ...ours } = args;
  const common = { hosts, upstreams, limits, tlsBundle };
  if (mode === "controller") {
    const { url, probed } = new ControllerIngress(name, { ...common, controller }, opts);
    return { url, probed, metrics: [] };
  }
  const { url, probed, metrics } = new NginxIngress(name, { ...common, ...ours }, opts);
  return { url, probed, metrics: [metrics] };
}
