import * as pulumi from "@pulumi/pulumi";

import type { ImageName } from "../images.ts";
import type { Endpoint, MetricsTarget, Namespaces, Resources } from "../types.ts";
import { LogAgent, TraceGateway } from "./collector.ts";
import { jaegerProgram, lokiProgram, TelemetryStore } from "./store.ts";

export interface LoggingArgs {
  /** The stores and the gateway run in `monitoring`, the agents in `node-agents`, which must be there. */
  readonly namespaces: Namespaces;
  /** References of the images `loki`, `jaeger` and `otel-collector`. */
  readonly image: (name: ImageName) => pulumi.Input<string>;
  /** Days that logs are kept. */
  readonly retentionDays: number;
  /** Volume of the logs, GiB. */
  readonly storageGiB: number;
  /** CPU and memory of Loki. */
  readonly resources: Resources;
  readonly traces: {
    /** Days that traces are kept. */
    readonly retentionDays: number;
    /** Volume of the traces, GiB. */
    readonly storageGiB: number;
    /** CPU and memory of Jaeger. */
    readonly resources: Resources;
    /** Pods that judge traces; without a number 1, and 2 where data is retained. */
    readonly gateways?: number | undefined;
  };
  /** CPU and memory of each agent and each gateway. */
  readonly collectors: { readonly resources: Resources };
  /** Directory of each node in which its kubelet keeps the pods' logs. */
  readonly podLogs: string;
  /** Keeps the volumes when the stack is destroyed. */
  readonly retainData: boolean;
}

/** Where people look, by the name of the store. */
export interface LoggingStores {
  readonly loki: Endpoint;
  readonly jaeger: Endpoint;
}

/** Collects what every pod writes into Loki, and the traces of app and workers into Jaeger. */
export class Logging extends pulumi.ComponentResource {
  readonly stores: LoggingStores;
  /** Where processes send their spans. */
  readonly tracesUrl: pulumi.Output<string>;
  readonly metrics: readonly MetricsTarget[];

  constructor(resourceName: string, args: LoggingArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:logging:Logging", resourceName, {}, opts);
    const child = { parent: this };
    const { image, namespaces, retainData, traces } = args;
    const { monitoring: namespace, "node-agents": agents } = namespaces;
    if (agents === undefined) throw new Error("Logging needs the namespace node-agents, which is not there");
    const kept = { namespace, retainData };
    const collector = { image: image("otel-collector"), resources: args.collectors.resources };

    const loki = new TelemetryStore(
      lokiProgram(args.retentionDays),
      { ...kept, image: image("loki"), storageGiB: args.storageGiB, resources: args.resources },
      child,
    );
    const jaeger = new TelemetryStore(
      jaegerProgram(traces.retentionDays),
      { ...kept, image: image("jaeger"), storageGiB: traces.storageGiB, resources: traces.resources },
      child,
    );
    const agent = new LogAgent(
      "log-agent",
      { ...collector, namespace: agents, store: loki.write, podLogs: args.podLogs },
      child,
    );
    const gateway = new TraceGateway(
      "trace-gateway",
      {
        ...collector,
        namespace,
        store: jaeger.write,
        replicas: traces.gateways ?? (retainData ? 2 : 1),
      },
      child,
    );

    this.stores = { loki: loki.read, jaeger: jaeger.read };
    this.tracesUrl = gateway.tracesUrl;
    this.metrics = [loki, jaeger, agent, gateway].map(({ metrics }) => metrics);
    this.registerOutputs({ tracesUrl: this.tracesUrl });
  }
}
