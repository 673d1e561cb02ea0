import type * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";

import { resources, restrictedContainer } from "./podDefaults.ts";

export const sentinelPort = 26379;

/**
 * Sentinel beside one member: it watches the primary and, with most of the others, names another when that one does not
 * answer for three seconds.
 */
export function sentinel(
  image: pulumi.Input<string>,
  env: k8s.types.input.core.v1.EnvVar[],
  volumeMounts: k8s.types.input.core.v1.VolumeMount[],
): k8s.types.input.core.v1.Container {
  const ping = {
    exec: { command: ["/bin/sh", "/etc/groundwork/redis/ping.sh", String(sentinelPort), "sentinel"] },
    timeoutSeconds: 5,
  };
  return {
    ...restrictedContainer,
    name: "sentinel",
    image,
    command: ["/bin/sh", "/etc/groundwork/redis/sentinel.sh"],
    env,
    ports: [{ name: "sentinel", containerPort: sentinelPort }],
    resources: resources({ cpuMillis: 20, memoryMiB: 32 }),
    startupProbe: { ...ping, periodSeconds: 2, failureThreshold: 60 },
    livenessProbe: { ...ping, periodSeconds: 20, failureThreshold: 5 },
    volumeMounts,
  };
}
