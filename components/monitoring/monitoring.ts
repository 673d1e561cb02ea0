import * as pulumi from "@pulumi/pulumi";

import type { LoggingStores } from "../logging/logging.ts";
import type { SecretStore, StoredSecret } from "../secrets/secretStore.ts";
import type { Endpoint, MetricsTarget, Resources } from "../types.ts";
import { Alertmanager } from "./alertmanager.ts";
import { Blackbox, type ProbedEdge } from "./blackbox.ts";
import { Grafana } from "./grafana.ts";
import { NodeExporter } from "./nodeExporter.ts";
import { ExistingPrometheus, ofThisStack, type ExistingPrometheusSettings } from "./existingPrometheus.ts";
import type { AlertNotifications } from "./notifications.ts";
import { Prober, type ProberArgs } from "./prober.ts";
import { Prometheus } from "./prometheus.ts";
import type { RemoteWrite } from "./scrapes.ts";

export interface MonitoringArgs {
  /** Namespace to run in. */
  readonly namespace: pulumi.Output<string>;
  /** Keeps and mounts passwords. */
  readonly secrets: SecretStore;
  /** A Prometheus that is there already; then none is run here, nor an Alertmanager, nor what reads the nodes' figures. */
  readonly existing?: ExistingPrometheusSettings | undefined;
  /** Pods each of Prometheus, Alertmanager and the prober; default 1. One may die where there are two. */
  readonly replicas?: number;
  /** Starts no two of Prometheus, or of Alertmanager, on one node; default only where there is another node to take. */
  readonly separateNodes?: boolean;
  /** Every workload that has metrics; monitoring's own are added. */
  readonly targets: readonly MetricsTarget[];
  readonly blackbox: {
    /** Image with blackbox_exporter 0.23 or newer. */
    readonly image: pulumi.Input<string>;
    /** The edge, which is asked as users ask it. */
    readonly edge: ProbedEdge;
    /** CPU and memory of each pod; default 10 thousandths of a core and 24 MiB. */
    readonly resources?: Resources;
  };
  readonly prometheus: {
    /** Image with Prometheus 2.53 or newer. */
    readonly image: pulumi.Input<string>;
    /** CPU and memory of each pod. */
    readonly resources: Resources;
    /** Days that metrics are kept. */
    readonly retentionDays: number;
    /** Volume of each pod, GiB. */
    readonly storageGiB: number;
    /** Keeps the volumes when the stack is destroyed. */
    readonly retainData: boolean;
    /** A further store for the metrics; default none. */
    readonly remoteWrite?: RemoteWrite;
  };
  readonly alertmanager: {
    /** Image with Alertmanager 0.28 or newer. */
    readonly image: pulumi.Input<string>;
    /** CPU and memory of each pod; default 20 thousandths of a core and 48 MiB. */
    readonly resources?: Resources;
    /** Where alerts are sent; default nowhere: they are seen in the web interface only. */
    readonly notifications?: AlertNotifications;
  };
  readonly nodeExporter: {
    /** Image with node_exporter 1.9 or newer. */
    readonly image: pulumi.Input<string>;
    /** CPU and memory of each pod; default 10 thousandths of a core and 24 MiB. */
    readonly resources?: Resources;
  };
  /** Who signs in through the edge again and again, and looks at the certificates inside the cluster. */
  readonly prober: Omit<ProberArgs, "namespace" | "replicas" | "edge" | "secrets">;
  /** Absent: the stack runs without Grafana. */
  readonly grafana?: {
    /** Image with Grafana 11 or newer. */
    readonly image: pulumi.Input<string>;
    /** Where logs and traces are read; absent: only metrics are shown. */
    readonly stores?: LoggingStores | undefined;
    /** CPU and memory of the pod; default 50 thousandths of a core and 176 MiB. */
    readonly resources?: Resources;
  };
}

/** Sees what goes wrong and tells someone: Prometheus and Alertmanager, its own or others', and, where wanted, Grafana. */
export class Monitoring extends pulumi.ComponentResource {
  readonly prometheus: Endpoint;
  /** Absent where an existing Prometheus has its own. */
  readonly alertmanager?: Endpoint;
  /** Grafana and the password of its user `admin`, where it runs. */
  readonly grafana?: { readonly endpoint: Endpoint; readonly adminPassword: StoredSecret };

  constructor(resourceName: string, args: MonitoringArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:monitoring:Monitoring", resourceName, {}, opts);
    const { namespace, secrets, replicas = 1, separateNodes = false } = args;
    const child = { parent: this };
    const common = { namespace, replicas, separateNodes };

    const blackbox = new Blackbox(
      "blackbox",
      { resources: { cpuMillis: 10, memoryMiB: 24 }, ...args.blackbox, namespace, replicas },
      child,
    );
    const prober = new Prober(
      "prober",
      { ...args.prober, namespace, replicas, edge: args.blackbox.edge, secrets },
      child,
    );
    const scrapes = (own: readonly MetricsTarget[]) => ({
      targets: [...args.targets, ...own, blackbox.metrics, prober.metrics],
      prober: blackbox.endpoint,
      probes: blackbox.probes,
    });
    const existing =
      args.existing &&
      new ExistingPrometheus(
        "existing-prometheus",
        { ...args.existing, objects: namespace, scrapes: scrapes([]) },
        child,
      );
    if (existing) {
      this.prometheus = existing.endpoint;
    } else {
      const nodes = new NodeExporter(
        "node-exporter",
        { resources: { cpuMillis: 10, memoryMiB: 24 }, ...args.nodeExporter, namespace },
        child,
      );
      const alertmanager = new Alertmanager(
        "alertmanager",
        {
          resources: { cpuMillis: 20, memoryMiB: 48 },
          notifications: {},
          ...args.alertmanager,
          ...common,
          secrets,
        },
        child,
      );
      this.prometheus = new Prometheus(
        "prometheus",
        {
          ...args.prometheus,
          ...common,
          secrets,
          scrapes: scrapes([alertmanager.metrics, nodes.metrics]),
          alertmanagers: alertmanager.members,
        },
        child,
      ).endpoint;
      this.alertmanager = alertmanager.endpoint;
    }
    if (args.grafana) {
      const { endpoint, adminPassword } = new Grafana(
        "grafana",
        {
          resources: { cpuMillis: 50, memoryMiB: 176 },
          ...args.grafana,
          namespace,
          secrets,
          prometheus: this.prometheus,
          asked: existing && ofThisStack,
        },
        child,
      );
      this.grafana = { endpoint, adminPassword };
    }
    this.registerOutputs({ prometheus: this.prometheus, alertmanager: this.alertmanager });
  }
}
