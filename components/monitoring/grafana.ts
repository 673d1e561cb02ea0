import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import type { LoggingStores } from "../logging/logging.ts";
import { checksumAnnotation, manifestFiles } from "../manifests.ts";
import {
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
import { secretsVolume, type SecretStore, type StoredSecret } from "../secrets/secretStore.ts";
import type { Endpoint, Resources } from "../types.ts";
import { dashboardFiles } from "./dashboards/index.ts";

export interface GrafanaArgs {
  /** Namespace to run in. */
  readonly namespace: pulumi.Output<string>;
  /** Image with Grafana 11 or newer on its PATH, started in Grafana's own directory. */
  readonly image: pulumi.Input<string>;
  /** CPU and memory of the pod. */
  readonly resources: Resources;
  /** Keeps and mounts the administrator's password. */
  readonly secrets: SecretStore;
  /** Where metrics are read. */
  readonly prometheus: Endpoint;
  /** A query as it must be put there; default: as the dashboards have it. */
  readonly asked?: ((expression: string) => string) | undefined;
  /** Where logs and traces are read; absent: only metrics are shown. */
  readonly stores?: LoggingStores | undefined;
}

const name = "grafana";
const port = 3000;
const filesPath = "/etc/groundwork/grafana";

/** Dashboards, all from the repository: the pod keeps nothing, and nobody gets in without the password. */
export class Grafana extends pulumi.ComponentResource {
  /** Web interface. */
  readonly endpoint: Endpoint;
  /** Password of the user `admin`. */
  readonly adminPassword: StoredSecret;

  constructor(resourceName: string, args: GrafanaArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:monitoring:Grafana", resourceName, {}, opts);
    const { namespace } = args;
    const child = { parent: this };
    const metadata = { name, namespace, labels: labels(name, "dashboards") };

    this.adminPassword = args.secrets.generate("grafana-admin-password");
    const secrets = args.secrets.mount(name, { namespace, files: { "admin-password": this.adminPassword } });
    const { stores } = args;
    const files = {
      ...manifestFiles("grafana"),
      ...dashboardFiles(args.asked),
      ...(stores && manifestFiles("grafana/logging")),
    };
    const config = new k8s.core.v1.ConfigMap(name, { metadata, data: files }, child);
    const data = scratch("data", "/var/lib/grafana", 256);
    const temporary = scratch("tmp", "/tmp");
    const health = { httpGet: { path: "/api/health", port: "http" }, timeoutSeconds: 5 };
    const environment: Record<string, pulumi.Input<string>> = {
      PROMETHEUS_URL: url(args.prometheus),
      ...(stores && { LOKI_URL: url(stores.loki), JAEGER_URL: url(stores.jaeger) }),
      // Also set by the upstream image, whose values would win over grafana.ini.
      GF_PATHS_DATA: "/var/lib/grafana",
      GF_PATHS_PLUGINS: "/var/lib/grafana/plugins",
      GF_PATHS_LOGS: "/var/lib/grafana/log",
      GF_PATHS_PROVISIONING: `${filesPath}/provisioning`,
    };

    new k8s.apps.v1.Deployment(
      name,
      {
        metadata,
        spec: {
          replicas: 1,
          progressDeadlineSeconds: 120,
          strategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
          selector: { matchLabels: selector(name) },
          template: {
            metadata: { labels: metadata.labels, annotations: checksumAnnotation(files) },
            spec: {
              ...restrictedPod,
              serviceAccountName: serviceAccount(this, name, namespace),
              containers: [
                {
                  ...restrictedContainer,
                  name,
                  image: args.image,
                  command: ["grafana", "server", `--config=${filesPath}/grafana.ini`],
                  env: Object.entries(environment).map(([key, value]) => ({ name: key, value })),
                  ports: [{ name: "http", containerPort: port }],
                  resources: resources(args.resources),
                  startupProbe: { ...health, periodSeconds: 2, failureThreshold: 60 },
                  readinessProbe: { ...health, periodSeconds: 10 },
                  livenessProbe: { ...health, periodSeconds: 20, failureThreshold: 6 },
                  volumeMounts: [
                    { name: secretsVolume, mountPath: secretsPath, readOnly: true },
                    { name: "config", mountPath: filesPath, readOnly: true },
                    data.mount,
                    temporary.mount,
                  ],
                },
              ],
              volumes: [
                secrets,
                {
                  name: "config",
                  configMap: {
                    name: config.metadata.name,
                    items: Object.keys(files).map((key) => ({ key, path: grafanaPath(key) })),
                  },
                },
                data.volume,
                temporary.volume,
              ],
            },
          },
        },
      },
      { ...child, customTimeouts: { create: "4m", update: "4m" } },
    );
    const ports = [{ name: "http", port, targetPort: "http" }];
    const service = new k8s.core.v1.Service(
      name,
      { metadata, spec: { selector: selector(name), ports } },
      child,
    );

    this.endpoint = {
      host: serviceHost(service.metadata.name, namespace),
      port,
    };
    this.registerOutputs({ endpoint: this.endpoint });
  }
}

function url({ host, port }: Endpoint): pulumi.Output<string> {
  return pulumi.interpolate`http://${host}:${port}`;
}

/** Where Grafana looks for one of its files. */
function grafanaPath(file: string): string {
  if (file === "dashboards.yaml") return `provisioning/dashboards/${file}`;
  if (file.endsWith(".yaml")) return `provisioning/datasources/${file}`;
  return file.endsWith(".json") ? `dashboards/${file}` : file;
}
