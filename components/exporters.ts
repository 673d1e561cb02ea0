import type * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { resources, restrictedContainer, secretsPath } from "./podDefaults.ts";
import { secretsVolume } from "./secrets/secretStore.ts";

export const postgresExporterPort = 9187;
export const redisExporterPort = 9121;

/**
 * Reads a Postgres server's own figures: replication lag, connections, locks, the costliest statements. It sees no
 * password but its own. `server` is the member that it runs beside, unless it is named.
 */
export function postgresExporter(
  image: pulumi.Input<string>,
  database: string,
  server: pulumi.Input<string> = "localhost:5432",
) {
  const connection = pulumi.interpolate`${server}/${database}?sslmode=verify-full&sslrootcert=${secretsPath}/ca.crt`;
  return {
    ...exporter(image, postgresExporterPort, ["ca.crt", "monitoring-password"]),
    command: [
      "prometheus-postgres-exporter",
      `--web.listen-address=:${postgresExporterPort}`,
      "--collector.stat_statements",
    ],
    env: [
      { name: "DATA_SOURCE_URI", value: connection },
      { name: "DATA_SOURCE_USER", value: "app_monitoring" },
      { name: "DATA_SOURCE_PASS_FILE", value: `${secretsPath}/monitoring-password` },
    ],
  };
}

/**
 * Reads a Redis server's own figures, and no data. `mounts` hold its start script and a directory in memory; it asks the
 * server that it runs beside, unless another is named.
 */
export function redisExporter(
  image: pulumi.Input<string>,
  mounts: readonly k8s.types.input.core.v1.VolumeMount[],
  remote?: { readonly server: pulumi.Input<string>; readonly user: string },
) {
  const base = exporter(image, redisExporterPort, ["ca.crt", "monitoring-password"]);
  return {
    ...base,
    command: [
      "/bin/sh",
      "/etc/groundwork/redis/exporter.sh",
      String(redisExporterPort),
      ...(remote ? [remote.server, remote.user] : []),
    ],
    volumeMounts: [...base.volumeMounts, ...mounts],
  };
}

function exporter(image: pulumi.Input<string>, port: number, files: readonly string[]) {
  const health = { tcpSocket: { port: "metrics" }, timeoutSeconds: 3 };
  return {
    ...restrictedContainer,
    name: "exporter",
    image,
    ports: [{ name: "metrics", containerPort: port }],
    resources: resources({ cpuMillis: 10, memoryMiB: 48 }),
    // It says nothing about the server: only its own liveness counts, so that a broken exporter takes no server away.
    livenessProbe: { ...health, periodSeconds: 30, failureThreshold: 4 },
    volumeMounts: files.map((file) => ({
      name: secretsVolume,
      mountPath: `${secretsPath}/${file}`,
      subPath: file,
      readOnly: true,
    })),
  };
}
