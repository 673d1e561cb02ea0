import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { allowOneEviction } from "../disruption.ts";
import { checksumAnnotation } from "../manifests.ts";
import {
  apart,
  labels,
  resources,
  restrictedContainer,
  restrictedPod,
  scratch,
  secretsPath,
  selector,
  serviceAccount,
  serviceHost,
} from "../podDefaults.ts";
import { secretsVolume, type SecretStore } from "../secrets/secretStore.ts";
import type { Endpoint, MetricsTarget, Resources } from "../types.ts";
import { alertmanagerFiles, secretFiles, type AlertNotifications } from "./notifications.ts";

export interface AlertmanagerArgs {
  /** Namespace to run in. */
  readonly namespace: pulumi.Output<string>;
  /** Image with Alertmanager 0.28 or newer on its PATH as `alertmanager`. */
  readonly image: pulumi.Input<string>;
  /** Pods; two or more tell each other what was sent and silenced. */
  readonly replicas: number;
  /** Starts no two of them on one node, even if one then waits for a node. */
  readonly separateNodes: boolean;
  /** CPU and memory of each pod. */
  readonly resources: Resources;
  /** Mounts the channels' credentials. */
  readonly secrets: SecretStore;
  /** Where alerts are sent; without any channel they are seen in the web interface only. */
  readonly notifications: AlertNotifications;
}

const name = "alertmanager";
const membersName = "alertmanager-members";
const port = 9093;
const gossipPort = 9094;
/**
 * How long each pod waits for what the ones before it say, s. No multiple of Prometheus's interval: pods that heard of a
 * group at different evaluations would then speak in the same moment, each before it has heard of the other.
 */
const peerTimeoutSeconds = 20;
const filesPath = "/etc/groundwork/alertmanager";

/**
 * Groups alerts, holds back what a worse one implies, and tells people. Silences live in memory and with the peers: a lone
 * Alertmanager forgets them when its pod goes.
 */
export class Alertmanager extends pulumi.ComponentResource {
  /** Web interface and API. */
  readonly endpoint: Endpoint;
  /** Each pod by its own name: Prometheus sends every alert to all of them. */
  readonly members: readonly Endpoint[];
  readonly metrics: MetricsTarget;

  constructor(resourceName: string, args: AlertmanagerArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:monitoring:Alertmanager", resourceName, {}, opts);
    const { namespace } = args;
    const child = { parent: this };
    const metadata = { name, namespace, labels: labels(name, "alerts") };

    const files = alertmanagerFiles(args.notifications, secretsPath);
    const config = new k8s.core.v1.ConfigMap(name, { metadata, data: files }, child);
    const credentials = secretFiles(args.notifications);
    const hasCredentials = Object.keys(credentials).length > 0;
    const secrets = hasCredentials ? [args.secrets.mount(name, { namespace, files: credentials })] : [];
    const data = scratch("data", "/var/lib/alertmanager");
    const ports = [{ name: "http", port, targetPort: "http" }];
    const service = new k8s.core.v1.Service(
      name,
      { metadata, spec: { selector: selector(name), ports } },
      child,
    );
    const membersService = new k8s.core.v1.Service(
      membersName,
      {
        metadata: { ...metadata, name: membersName },
        spec: {
          clusterIP: "None",
          // Peers must find each other before they are ready.
          publishNotReadyAddresses: true,
          selector: selector(name),
          ports,
        },
      },
      child,
    );
    const membersHost = serviceHost(membersService.metadata.name, namespace);
    this.members = Array.from({ length: args.replicas }, (_, index) => ({
      host: pulumi.interpolate`${name}-${index}.${membersHost}`,
      port,
    }));

    new k8s.apps.v1.StatefulSet(
      name,
      {
        metadata,
        spec: {
          serviceName: membersService.metadata.name,
          replicas: args.replicas,
          podManagementPolicy: "Parallel",
          selector: { matchLabels: selector(name) },
          template: {
            metadata: { labels: metadata.labels, annotations: checksumAnnotation(files) },
            spec: {
              ...restrictedPod,
              serviceAccountName: serviceAccount(this, name, namespace),
              affinity: apart(name, args.separateNodes),
              containers: [
                {
                  ...restrictedContainer,
                  name,
                  image: args.image,
                  command: [
                    "alertmanager",
                    `--config.file=${filesPath}/alertmanager.yml`,
                    `--storage.path=${data.mount.mountPath as string}`,
                    `--web.listen-address=:${port}`,
                    "--log.format=json",
                  ],
                  args: gossip(this.members.map(({ host }) => host)),
                  env: [{ name: "POD_IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } }],
                  ports: [{ name: "http", containerPort: port }],
                  resources: resources(args.resources),
                  startupProbe: { ...probe("/-/ready"), periodSeconds: 1, failureThreshold: 60 },
                  readinessProbe: { ...probe("/-/ready"), periodSeconds: 10 },
                  livenessProbe: { ...probe("/-/healthy"), periodSeconds: 20, failureThreshold: 6 },
                  volumeMounts: [
                    { name: "config", mountPath: filesPath, readOnly: true },
                    ...(hasCredentials
                      ? [{ name: secretsVolume, mountPath: secretsPath, readOnly: true }]
                      : []),
                    data.mount,
                  ],
                },
              ],
              volumes: [
                { name: "config", configMap: { name: config.metadata.name } },
                ...secrets,
                data.volume,
              ],
            },
          },
        },
      },
      { ...child, customTimeouts: { create: "3m", update: "5m" } },
    );
    allowOneEviction(this, metadata);

    this.endpoint = {
      host: serviceHost(service.metadata.name, namespace),
      port,
    };
    this.metrics = { job: name, host: membersHost, port, pods: args.replicas };
    this.registerOutputs({ endpoint: this.endpoint });
  }
}

/** A lone Alertmanager has nobody to talk to; an empty address switches gossip off. */
function gossip(peers: readonly pulumi.Input<string>[]): pulumi.Input<string>[] {
  if (peers.length < 2) return ["--cluster.listen-address="];
  return [
    `--cluster.listen-address=0.0.0.0:${gossipPort}`,
    `--cluster.advertise-address=$(POD_IP):${gossipPort}`,
    `--cluster.peer-timeout=${peerTimeoutSeconds}s`,
    ...peers.map((peer) => pulumi.interpolate`--cluster.peer=${peer}:${gossipPort}`),
  ];
}

function probe(path: string): k8s.types.input.core.v1.Probe {
  return { httpGet: { path, port: "http" }, timeoutSeconds: 5 };
}
