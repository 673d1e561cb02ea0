import type * as k8s from "@pulumi/kubernetes";

import { resources, restrictedContainer, secretsPath } from "./podDefaults";
import { secretsVolume } from "./secrets/secretStore";

type Container = k8s.types.input.core.v1.Container;

export const postgresExporterPort = 9187;
export const redisExporterPort = 9121;

/**
 * Reads a Postgres member's own figures: replication lag, connections, locks, the costliest statements. It sees no
 * password but its own.
 */
export function postgresExporter(image: string, database: string): Container {
  const connection = `localhost:5432/${database}?sslmode=verify-full&sslrootcert=${secretsPath}/ca.crt`;
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

/** Reads a Redis server's own figures, and no data. `mounts` hold its start script and a directory in memory. */
export function redisExporter(
  image: string,
  mounts: readonly k8s.types.input.core.v1.VolumeMount[],
): Container {
  const base = exporter(image, redisExporterPort, ["ca.crt", "monitoring-password"]);
  return {
    ...base,
    command: ["/bin/sh", "/etc/groundwork/redis/exporter.sh", String(redisExporterPort)],
    volumeMounts: [...base.volumeMounts, ...mounts],
  };
}

function exporter(image: string, port: number, files: readonly string[]) {
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
