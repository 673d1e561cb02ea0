import type * as pulumi from "@pulumi/pulumi";

import { NginxIngress, type NginxIngressArgs } from "./ingress.ts";
import { ControllerIngress, type ControllerIngressArgs } from "./ingressController.ts";
import type { ProbedEdge } from "./monitoring/blackbox.ts";
import type { Endpoint, MetricsTarget, Share } from "./types.ts";

export interface EdgeArgs extends NginxIngressArgs, Omit<ControllerIngressArgs, "upstreams" | "encrypted"> {
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
  const { mode, controller, hosts, upstreams, upstreamTls, limits, certificate, tlsBundle, ...ours } = args;
  const common = { hosts, limits, tlsBundle, ...(certificate && { certificate }) };
  if (mode === "controller") {
    const { apiV1, apiV2, app } = upstreams;
    const whole = { apiV1: lastOf(apiV1), apiV2: lastOf(apiV2), app: lastOf(app) };
    const { url, probed } = new ControllerIngress(
      name,
      { ...common, upstreams: whole, encrypted: upstreamTls !== undefined, controller },
      opts,
    );
    return { url, probed, metrics: [] };
  }
  const { url, probed, metrics } = new NginxIngress(
    name,
    { ...common, ...ours, upstreams, upstreamTls },
    opts,
  );
  return { url, probed, metrics: [metrics] };
}

/** A controller's Ingress names one Service for all users: the one that a release turns last, when all are to have it. */
function lastOf(shares: readonly Share[]): Endpoint {
  const share = shares.at(-1);
  if (!share) throw new Error("an upstream without a share of the users");
  return { host: share.host, port: share.port };
}
