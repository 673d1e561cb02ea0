import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { certificatesOf } from "./certificates.ts";
import { allowOneEviction } from "./disruption.ts";
import { edgeCertificate, type EdgeCertificateArgs } from "./edgeCertificate.ts";
import type { ProbedEdge } from "./monitoring/blackbox.ts";
import { edgeFiles, type EdgeLimits, type Upstreams } from "./ingressFiles.ts";
import { checksumAnnotation } from "./manifests.ts";
import { scrapedPods } from "./metricsService.ts";
import {
  labels,
  resources,
  restrictedContainer,
  restrictedPod,
  scratch,
  selector,
  serviceHost,
  serviceAccount,
  spread,
} from "./podDefaults.ts";
import type { MetricsTarget, Resources } from "./types.ts";

/** How clients outside the cluster reach the edge. */
export type EdgeService =
  | {
      readonly type: "NodePort";
      /** Port of every node for https. */
      readonly httpsPort: number;
      /** Port of every node for http, which redirects. */
      readonly httpPort: number;
    }
  | {
      readonly type: "LoadBalancer";
      /** What the cloud's load balancer is told. */
      readonly annotations?: Readonly<Record<string, pulumi.Input<string>>>;
    };

export interface NginxIngressArgs extends EdgeCertificateArgs {
  /** Namespace to run in. */
  readonly namespace: pulumi.Output<string>;
  /** Image with nginx 1.26 or newer on its PATH, and a shell. */
  readonly image: pulumi.Input<string>;
  /** Image with nginx-prometheus-exporter 0.11 or newer on its PATH. */
  readonly exporterImage: pulumi.Input<string>;
  /** Pods of the edge; rate limits count in each pod by itself. */
  readonly replicas: number;
  /** CPU and memory of each pod. */
  readonly resources: Resources;
  /** Host names or IPv4 addresses that are served, the certificate's names, too; any other gets 421. */
  readonly hosts: readonly string[];
  /** Where requests go. */
  readonly upstreams: Upstreams;
  /** What one client address may do; 429 beyond. */
  readonly limits: EdgeLimits;
  /** Networks (CIDR) whose X-Forwarded-For names the client. Empty: nobody's does. */
  readonly trustedProxies: readonly string[];
  /** How clients reach the edge. */
  readonly service: EdgeService;
}

const name = "edge";
const metricsName = "edge-metrics";
const metricsPort = 9113;
const filesPath = "/etc/groundwork/nginx";
/**
 * How long a stopping pod goes on accepting while those before it learn that it is leaving, and how long a new one is ready
 * before an old one goes. A cloud's load balancer asks each node whether it has a ready pod, Azure's every five seconds, and
 * believes two answers in a row; the node's own port follows its cluster at once.
 */
const handover = {
  NodePort: { leaveDelaySeconds: 5 },
  LoadBalancer: { leaveDelaySeconds: 20, minReadySeconds: 15 },
} as const;
/** `worker_shutdown_timeout` of nginx.conf, and room to finish. */
const drainSeconds = 55;

/**
 * The only door from outside: nginx with TLS, rate limits, security headers, request and trace ids. Pods roll one by one
 * and finish what they were serving, so that no request is dropped by a rollout; a new certificate is served without one.
 */
export class NginxIngress extends pulumi.ComponentResource {
  /** Base URL, by the first host. */
  readonly url: string;
  /** How a client inside the cluster reaches it as users do. */
  readonly probed: ProbedEdge;
  readonly metrics: MetricsTarget;

  constructor(resourceName: string, args: NginxIngressArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:edge:NginxIngress", resourceName, {}, opts);
    const { namespace, service } = args;
    const child = { parent: this };
    const metadata = { name, namespace, labels: labels(name, "edge") };
    const { leaveDelaySeconds, ...rollout } = handover[service.type];
    const publicPort = service.type === "NodePort" ? service.httpsPort : 443;

    const certificate = edgeCertificate(this, args);
    const { certificateFile, checkedBy } = certificate;
    const files = edgeFiles({ ...args, publicPort, certificateFile, upstreamTls: checkedBy });
    const config = new k8s.core.v1.ConfigMap(name, { metadata, data: files }, child);
    const watched = [certificateFile, ...(checkedBy ? [checkedBy.caFile] : [])];
    const temporary = scratch("tmp", "/tmp", 512);
    const health = { httpGet: { path: "/health", port: "http" }, timeoutSeconds: 3 };

    const deployment = new k8s.apps.v1.Deployment(
      name,
      {
        metadata,
        spec: {
          replicas: args.replicas,
          ...rollout,
          progressDeadlineSeconds: 120,
          strategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
          selector: { matchLabels: selector(name) },
          template: {
            metadata: { labels: metadata.labels, annotations: files.apply(checksumAnnotation) },
            spec: {
              ...restrictedPod,
              serviceAccountName: serviceAccount(this, name, namespace),
              terminationGracePeriodSeconds: leaveDelaySeconds + drainSeconds,
              topologySpreadConstraints: spread(name),
              containers: [
                {
                  ...restrictedContainer,
                  name: "nginx",
                  image: args.image,
                  command: ["/bin/sh", `${filesPath}/start.sh`, ...watched],
                  ports: [
                    { name: "https", containerPort: 8443 },
                    { name: "http", containerPort: 8080 },
                  ],
                  resources: resources(args.resources),
                  startupProbe: { ...health, periodSeconds: 1, failureThreshold: 30 },
                  readinessProbe: { ...health, periodSeconds: 5, failureThreshold: 2 },
                  livenessProbe: { ...health, periodSeconds: 10, failureThreshold: 6 },
                  lifecycle: {
                    preStop: { exec: { command: ["/bin/sh", "-c", drainCommand(leaveDelaySeconds)] } },
                  },
                  volumeMounts: [
                    ...certificate.mounts,
                    { name: "config", mountPath: filesPath, readOnly: true },
                    temporary.mount,
                  ],
                },
                exporter(args.exporterImage),
              ],
              volumes: [
                ...certificate.volumes,
                { name: "config", configMap: { name: config.metadata.name } },
                temporary.volume,
              ],
            },
          },
        },
      },
      {
        ...child,
        dependsOn: certificate.dependsOn,
        // A rollout replaces one pod after the other.
        customTimeouts: { create: "3m", update: `${5 + args.replicas}m` },
      },
    );
    allowOneEviction(this, metadata);
    new k8s.core.v1.Service(
      name,
      { metadata: { ...metadata, ...serviceAnnotations(service) }, spec: serviceSpec(service) },
      { ...child, dependsOn: [deployment] },
    );
    const scraped = { service: metricsName, port: metricsPort, pods: args.replicas };
    this.metrics = scrapedPods(this, metadata, scraped);
    this.probed = {
      endpoint: { host: serviceHost(name, namespace), port: 443 },
      host: args.hosts[0] ?? "",
      // A stack that is given its certificate trusts just that; where the vault has it, public authorities vouch for it.
      ...(args.tlsBundle.value && { caPem: pulumi.unsecret(args.tlsBundle.value.apply(certificatesOf)) }),
    };

    this.url = `https://${args.hosts[0] ?? ""}${publicPort === 443 ? "" : `:${publicPort}`}`;
    this.registerOutputs({ url: this.url });
  }
}

/**
 * The kubelet's own stop signal, TERM, would cut requests off; QUIT lets them finish. Kubernetes' `sleep` action cannot
 * send it, and a pod's `stopSignal` is not yet in every cluster that we support.
 */
function drainCommand(leaveDelaySeconds: number): string {
  return `sleep ${leaveDelaySeconds}; kill -QUIT "$(cat /tmp/nginx.pid)"; while [ -e /tmp/nginx.pid ]; do sleep 1; done`;
}

/** Tells Prometheus what nginx counts: connections and requests. */
function exporter(image: pulumi.Input<string>): k8s.types.input.core.v1.Container {
  // Not /metrics, which asks nginx: while that drains, the exporter is no reason to restart anything.
  const answers = { httpGet: { path: "/", port: "metrics" }, timeoutSeconds: 3 };
  return {
    ...restrictedContainer,
    name: "exporter",
    image,
    command: [
      "nginx-prometheus-exporter",
      "--nginx.scrape-uri=http://127.0.0.1:8081/stub_status",
      `--web.listen-address=:${metricsPort}`,
    ],
    ports: [{ name: "metrics", containerPort: metricsPort }],
    resources: resources({ cpuMillis: 10, memoryMiB: 32 }),
    readinessProbe: { ...answers, periodSeconds: 10 },
    livenessProbe: { ...answers, periodSeconds: 20, failureThreshold: 6 },
  };
}

function serviceAnnotations(service: EdgeService): {
  annotations?: Readonly<Record<string, pulumi.Input<string>>>;
} {
  return service.type === "LoadBalancer" && service.annotations ? { annotations: service.annotations } : {};
}

function serviceSpec(service: EdgeService): k8s.types.input.core.v1.ServiceSpec {
  const https = { name: "https", port: 443, targetPort: "https" };
  const http = { name: "http", port: 80, targetPort: "http" };
  return {
    type: service.type,
    selector: selector(name),
    // Otherwise every client has the address of a node, and all share one rate limit.
    externalTrafficPolicy: "Local",
    ports:
      service.type === "NodePort"
        ? [
            { ...https, nodePort: service.httpsPort },
            { ...http, nodePort: service.httpPort },
          ]
        : [https, http],
  };
}

/** The service with more for the cloud's load balancer; what is configured wins. */
export function withAnnotations(
  service: EdgeService,
  annotations: Readonly<Record<string, pulumi.Input<string>>> = {},
): EdgeService {
  return service.type === "LoadBalancer"
    ? { ...service, annotations: { ...annotations, ...service.annotations } }
    : service;
}
