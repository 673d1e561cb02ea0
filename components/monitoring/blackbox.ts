import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { stringify } from "yaml";

import { allowOneEviction } from "../disruption.ts";
import { checksumAnnotation } from "../manifests.ts";
import { scrapedPods } from "../metricsService.ts";
import {
  labels,
  resources,
  restrictedContainer,
  restrictedPod,
  selector,
  serviceHost,
  spread,
} from "../podDefaults.ts";
import type { Endpoint, MetricsTarget, Resources } from "../types.ts";

/** How users reach the edge, as a client inside the cluster can do it too. */
export interface ProbedEdge {
  /** Service of the edge, https. */
  readonly endpoint: Endpoint;
  /** Host name that is asked for, and that the certificate must be for. */
  readonly host: string;
  /** PEM certificates that vouch for the edge's; absent when public authorities do. */
  readonly caPem?: pulumi.Output<string>;
}

export interface BlackboxArgs {
  /** Namespace to run in. */
  readonly namespace: pulumi.Output<string>;
  /** Image with blackbox_exporter 0.23 or newer on its PATH. */
  readonly image: pulumi.Input<string>;
  /** Pods; any of them is asked. */
  readonly replicas: number;
  /** CPU and memory of each pod. */
  readonly resources: Resources;
  readonly edge: ProbedEdge;
}

/** One question that Prometheus has asked again and again. */
export interface Probe {
  /** Label `probe` of what comes back. */
  readonly name: string;
  readonly url: pulumi.Output<string>;
}

const name = "blackbox";
const port = 9115;
const filesPath = "/etc/groundwork/blackbox";

/** What is asked through the edge, and the status that shows that all is well. */
const questions = {
  ready: { path: "/ready", status: 200 },
  // Comes as far as the app's own check of tokens, without having one that could be stolen.
  refusal: { path: "/api/v1/documents", status: 401 },
} as const;

/** A client of our own, which asks through the edge as users do: by name, by TLS with a checked certificate. */
export class Blackbox extends pulumi.ComponentResource {
  /** Of the pods themselves. */
  readonly metrics: MetricsTarget;
  /** Where Prometheus has it ask. */
  readonly endpoint: Endpoint;
  readonly probes: readonly Probe[];

  constructor(resourceName: string, args: BlackboxArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:monitoring:Blackbox", resourceName, {}, opts);
    const { namespace, edge } = args;
    const child = { parent: this };
    const metadata = { name, namespace, labels: labels(name, "probe") };
    const health = { httpGet: { path: "/-/healthy", port: "http" }, timeoutSeconds: 5 };

    const files = blackboxFiles(edge);
    const config = new k8s.core.v1.ConfigMap(name, { metadata, data: files }, child);
    new k8s.apps.v1.Deployment(
      name,
      {
        metadata,
        spec: {
          replicas: args.replicas,
          progressDeadlineSeconds: 120,
          selector: { matchLabels: selector(name) },
          template: {
            metadata: { labels: metadata.labels, annotations: files.apply(checksumAnnotation) },
            spec: {
              ...restrictedPod,
              topologySpreadConstraints: spread(name),
              containers: [
                {
                  ...restrictedContainer,
                  name,
                  image: args.image,
                  command: ["blackbox_exporter", `--config.file=${filesPath}/blackbox.yml`],
                  ports: [{ name: "http", containerPort: port }],
                  resources: resources(args.resources),
                  startupProbe: { ...health, periodSeconds: 1, failureThreshold: 30 },
                  readinessProbe: { ...health, periodSeconds: 10 },
                  livenessProbe: { ...health, periodSeconds: 20, failureThreshold: 6 },
                  volumeMounts: [{ name: "config", mountPath: filesPath, readOnly: true }],
                },
              ],
              volumes: [{ name: "config", configMap: { name: config.metadata.name } }],
            },
          },
        },
      },
      { ...child, customTimeouts: { create: "3m", update: "3m" } },
    );
    allowOneEviction(this, metadata);
    const ports = [{ name: "http", port, targetPort: "http" }];
    const service = new k8s.core.v1.Service(
      name,
      { metadata, spec: { selector: selector(name), ports } },
      child,
    );

    this.endpoint = { host: serviceHost(service.metadata.name, namespace), port };
    this.metrics = scrapedPods(this, metadata, { service: `${name}-metrics`, port, pods: args.replicas });
    this.probes = Object.entries(questions).map(([probe, { path }]) => ({
      name: probe,
      url: pulumi.interpolate`https://${edge.endpoint.host}:${edge.endpoint.port}${path}`,
    }));
    this.registerOutputs({ endpoint: this.endpoint });
  }
}

/** The exporter's modules, one for each question, and the authorities that it trusts. */
export function blackboxFiles({ host, caPem }: ProbedEdge): pulumi.Output<Record<string, string>> {
  return pulumi.output(caPem).apply((authorities): Record<string, string> => {
    const trusted = authorities === undefined ? {} : { ca_file: `${filesPath}/ca.pem` };
    const modules = Object.entries(questions).map(([probe, { status }]) => [
      probe,
      {
        prober: "http",
        timeout: "5s",
        http: {
          valid_status_codes: [status],
          fail_if_not_ssl: true,
          preferred_ip_protocol: "ip4",
          headers: { Host: host },
          tls_config: { server_name: host, ...trusted },
        },
      },
    ]);
    return {
      "blackbox.yml": stringify({ modules: Object.fromEntries(modules) as object }),
      ...(authorities !== undefined && { "ca.pem": authorities }),
    };
  });
}
