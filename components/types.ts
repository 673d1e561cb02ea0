import * as pulumi from "@pulumi/pulumi";

import type { StoredSecret } from "./secrets/secretStore.ts";

/** Where a service answers inside the cluster. */
export interface Endpoint {
  /** DNS name that resolves from every namespace. */
  readonly host: pulumi.Input<string>;
  /** TCP port. */
  readonly port: number;
}

/** Where some of the users are sent; who is sent there stays there. */
export interface Share extends Endpoint {
  /** How many of a hundred users. */
  readonly percent: number;
}

/** What a server inside the cluster proves to whoever connects. */
export interface CheckedServer {
  /** Name that its certificate must bear. */
  readonly name: pulumi.Input<string>;
  /** Authority that must have signed it. */
  readonly ca: StoredSecret;
}

/** What a workload's objects are called, and where they are. */
export interface WorkloadMetadata {
  readonly name: string;
  readonly namespace: pulumi.Input<string>;
  readonly labels: Record<string, string>;
}

/** What Prometheus needs to scrape every pod of a workload: a headless Service answers with all of them. */
export interface MetricsTarget {
  /** Prometheus job name. */
  readonly job: string;
  /** DNS name of the headless Service. */
  readonly host: pulumi.Input<string>;
  /** TCP port of the metrics listener. */
  readonly port: number;
  /** Pods that must answer, where losing one would go unseen; fewer are an alert. */
  readonly pods?: number;
  /** HTTP path; default `/metrics`. */
  readonly path?: string;
  /** Names of the only series that are kept, as a regular expression; default all. */
  readonly kept?: string;
}

/** CPU and memory of one container; requests and limits of memory are equal, CPU may burst. */
export interface Resources {
  /** CPU request in thousandths of a core. */
  readonly cpuMillis: number;
  /** Memory request and limit in MiB. */
  readonly memoryMiB: number;
}

/** The namespaces of the stack by their role; values are the names, known once each exists. */
export interface Namespaces {
  readonly edge: pulumi.Output<string>;
  readonly app: pulumi.Output<string>;
  readonly data: pulumi.Output<string>;
  readonly monitoring: pulumi.Output<string>;
  /** What must see its node; only where something does. */
  readonly "node-agents"?: pulumi.Output<string>;
}

export type NamespaceName = keyof Namespaces;

export const namespaceNames = [
  "edge",
  "app",
  "data",
  "monitoring",
  "node-agents",
] as const satisfies NamespaceName[];
