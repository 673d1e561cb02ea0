import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { stringify } from "yaml";

import { claimTemplates, growClaims, templateAsMade } from "../claims.ts";
import { allowOneEviction } from "../disruption.ts";
import { checksumAnnotation } from "../manifests.ts";
import {
  apart,
  labels,
  resources,
  restrictedContainer,
  restrictedPod,
  secretsPath,
  selector,
  serviceHost,
} from "../podDefaults.ts";
import { secretsVolume, type SecretStore } from "../secrets/secretStore.ts";
import type { Endpoint, Resources } from "../types.ts";
import { expectedPods, ruleFiles } from "./rules.ts";
import { prometheusFiles, remoteWriteFile, type RemoteWrite, type Scrapes } from "./scrapes.ts";

export interface PrometheusArgs {
  /** Namespace to run in. */
  readonly namespace: pulumi.Output<string>;
  /** Image with Prometheus 2.53 or newer on its PATH. */
  readonly image: pulumi.Input<string>;
  /** Pods that each scrape everything and send every alert; Alertmanager drops the duplicates. */
  readonly replicas: number;
  /** Starts no two of them on one node, even if one then waits for a node. */
  readonly separateNodes: boolean;
  /** CPU and memory of each pod. */
  readonly resources: Resources;
  /** Days that metrics are kept. */
  readonly retentionDays: number;
  /** Volume of each pod, GiB; the oldest metrics go before it is full. */
  readonly storageGiB: number;
  /** Keeps the volumes when the stack is destroyed. */
  readonly retainData: boolean;
  /** What to scrape beside Prometheus itself and the nodes. */
  readonly scrapes: Scrapes;
  /** Every single Alertmanager; alerts go to each of them. */
  readonly alertmanagers: readonly Endpoint[];
  /** A further store for the metrics; absent when they stay here. */
  readonly remoteWrite?: RemoteWrite;
  /** Mounts that store's credential. */
  readonly secrets: SecretStore;
}

const name = "prometheus";
const membersName = "prometheus-members";
const port = 9090;
const filesPath = "/etc/groundwork/prometheus";
const dataPath = "/var/lib/prometheus";

/** Each has its own figures by itself: of the others it is to know that they are there. */
const peerMetrics = "prometheus_build_info";

/** Scrapes what the other components declare, keeps it for a bounded time and size, and evaluates the alert rules. */
export class Prometheus extends pulumi.ComponentResource {
  /** Query API and web interface. */
  readonly endpoint: Endpoint;

  constructor(resourceName: string, args: PrometheusArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:monitoring:Prometheus", resourceName, {}, opts);
    const { namespace } = args;
    const child = { parent: this };
    const metadata = { name, namespace, labels: labels(name, "metrics") };

    const host = serviceHost(membersName, namespace);
    const peers =
      args.replicas > 1
        ? [{ job: "prometheus-peers", host, port, pods: args.replicas, kept: peerMetrics }]
        : [];
    const scrapes = { ...args.scrapes, targets: [...args.scrapes.targets, ...peers] };
    const config = prometheusFiles(scrapes, args.alertmanagers, args.remoteWrite);
    const rules = { ...ruleFiles(), "pods.yaml": stringify({ groups: [expectedPods(scrapes.targets)] }) };
    const configMap = new k8s.core.v1.ConfigMap(name, { metadata, data: config }, child);
    const rulesMap = new k8s.core.v1.ConfigMap(
      `${name}-rules`,
      { metadata: { ...metadata, name: `${name}-rules` }, data: rules },
      child,
    );
    const account = kubeletReader(this, metadata);
    const credential = args.remoteWrite?.credential;
    const secrets = credential
      ? [args.secrets.mount(name, { namespace, files: { [remoteWriteFile]: credential } })]
      : [];
    const ports = [{ name: "http", port, targetPort: "http" }];
    const service = new k8s.core.v1.Service(
      name,
      // Whoever asks twice asks the same one: two that scrape at different moments do not agree to the last digit.
      { metadata, spec: { selector: selector(name), ports, sessionAffinity: "ClientIP" } },
      child,
    );
    const members = new k8s.core.v1.Service(
      membersName,
      {
        metadata: { ...metadata, name: membersName },
        // Also of one that is not ready: the others are to see that it does not answer.
        spec: { clusterIP: "None", publishNotReadyAddresses: true, selector: selector(name), ports },
      },
      child,
    );

    const set = new k8s.apps.v1.StatefulSet(
      name,
      {
        metadata,
        spec: {
          serviceName: members.metadata.name,
          replicas: args.replicas,
          podManagementPolicy: "Parallel",
          selector: { matchLabels: selector(name) },
          persistentVolumeClaimRetentionPolicy: {
            whenDeleted: args.retainData ? "Retain" : "Delete",
            whenScaled: args.retainData ? "Retain" : "Delete",
          },
          template: {
            metadata: {
              labels: metadata.labels,
              annotations: config.apply((files) => checksumAnnotation({ ...files, ...rules })),
            },
            spec: {
              ...restrictedPod,
              serviceAccountName: account.metadata.name,
              automountServiceAccountToken: true,
              // Time to write what is in memory to disk.
              terminationGracePeriodSeconds: 60,
              affinity: apart(name, args.separateNodes),
              containers: [
                {
                  ...restrictedContainer,
                  name,
                  image: args.image,
                  command: [
                    "prometheus",
                    `--config.file=${filesPath}/prometheus.yml`,
                    `--storage.tsdb.path=${dataPath}`,
                    `--storage.tsdb.retention.time=${args.retentionDays}d`,
                    `--storage.tsdb.retention.size=${retentionMiB(args.storageGiB)}MB`,
                    `--web.listen-address=:${port}`,
                    "--log.format=json",
                  ],
                  // Makes Go collect garbage before the kernel kills the process.
                  env: [{ name: "GOMEMLIMIT", value: `${Math.floor(args.resources.memoryMiB * 0.9)}MiB` }],
                  ports: [{ name: "http", containerPort: port }],
                  resources: resources(args.resources),
                  // Replaying the log of a large store takes minutes.
                  startupProbe: { ...probe("/-/ready"), periodSeconds: 2, failureThreshold: 150 },
                  readinessProbe: { ...probe("/-/ready"), periodSeconds: 10 },
                  livenessProbe: { ...probe("/-/healthy"), periodSeconds: 20, failureThreshold: 6 },
                  volumeMounts: [
                    { name: "config", mountPath: filesPath, readOnly: true },
                    { name: "data", mountPath: dataPath },
                    ...(credential ? [{ name: secretsVolume, mountPath: secretsPath, readOnly: true }] : []),
                  ],
                },
              ],
              volumes: [
                ...secrets,
                {
                  name: "config",
                  projected: {
                    sources: [
                      { configMap: { name: configMap.metadata.name } },
                      {
                        configMap: {
                          name: rulesMap.metadata.name,
                          items: Object.keys(rules).map((key) => ({ key, path: `rules/${key}` })),
                        },
                      },
                    ],
                  },
                },
              ],
            },
          },
          volumeClaimTemplates: claimTemplates(name, args.storageGiB),
        },
      },
      { ...child, ...templateAsMade, customTimeouts: { create: "5m", update: "8m" } },
    );
    growClaims(set, { workload: name, namespace, members: args.replicas, storageGiB: args.storageGiB }, this);
    allowOneEviction(this, metadata);

    this.endpoint = { host: serviceHost(service.metadata.name, namespace), port };
    this.registerOutputs({ endpoint: this.endpoint });
  }
}

/** The account that may find the nodes and read their metrics, and nothing else. */
function kubeletReader(
  parent: pulumi.Resource,
  metadata: { readonly name: string; readonly namespace: pulumi.Output<string> },
): k8s.core.v1.ServiceAccount {
  const account = new k8s.core.v1.ServiceAccount(
    name,
    { metadata: { ...metadata, labels: labels(name, "metrics") }, automountServiceAccountToken: false },
    { parent },
  );
  const clusterWide = { name: `groundwork-${name}`, labels: labels(name, "metrics") };
  const role = new k8s.rbac.v1.ClusterRole(
    name,
    {
      metadata: clusterWide,
      rules: [
        { apiGroups: [""], resources: ["nodes"], verbs: ["get", "list", "watch"] },
        { apiGroups: [""], resources: ["nodes/metrics"], verbs: ["get"] },
      ],
    },
    { parent },
  );
  new k8s.rbac.v1.ClusterRoleBinding(
    name,
    {
      metadata: clusterWide,
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: role.metadata.name },
      subjects: [{ kind: "ServiceAccount", name: account.metadata.name, namespace: metadata.namespace }],
    },
    { parent },
  );
  return account;
}

/** A fifth of the volume stays free for the write-ahead log and for compaction, which the size limit does not count. */
function retentionMiB(storageGiB: number): number {
  return Math.floor(storageGiB * 1024 * 0.8);
}

function probe(path: string): k8s.types.input.core.v1.Probe {
  return { httpGet: { path, port: "http" }, timeoutSeconds: 5 };
}
