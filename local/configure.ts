/** What `make up` lays over the committed file of the dev stack. */
import type { Cluster } from "./cluster.ts";
import { edgeHosts } from "./devSettings.ts";
import { backupKey, edgeCertificate } from "./identity.ts";
import { collectsLogs } from "./images/catalogue.ts";
import { internalCertificates } from "./internalCertificates.ts";
import { inCluster } from "./node/layout.ts";
import { passwordSettings } from "./passwords.ts";
import { merge, prepareStack } from "./stack.ts";
import type { World } from "./up.ts";

/** Writes what only this machine knows into its copy of the dev stack's file. */
export async function configure({ engine, cluster, images }: World): Promise<void> {
  const key = await backupKey();
  await prepareStack(
    engine,
    "dev",
    merge(merge(highAvailability(), await passwordSettings()), {
      ...ofCluster(cluster),
      "groundwork:images": images.images,
      ...("grafana" in images.missing && { "groundwork:monitoring": { grafana: false } }),
      "groundwork:backups": { ageRecipient: key.recipient },
      ...collection(cluster),
    }),
    {
      "groundwork:tlsBundle": await edgeCertificate(await edgeHosts()),
      ...(await internalCertificates()),
      "groundwork:ageIdentity": key.identity,
    },
  );
}

/** `make up HA=1`: what production has several of, on this one node. */
function highAvailability(): Record<string, object> {
  if (process.env["HA"] !== "1") return {};
  return {
    "groundwork:app": { replicas: 2 },
    "groundwork:postgres": { members: 3 },
    "groundwork:redis": { queue: { members: 3 } },
    "groundwork:monitoring": { replicas: 2 },
  };
}

/** `make up LOGS=1`: logs and traces are collected, too. */
function collection({ kind }: Cluster): Record<string, object> {
  if (!collectsLogs()) return {};
  return {
    "groundwork:logging": {
      enabled: true,
      // As in production, so that they have to hand spans to each other.
      traces: { gateways: 2 },
      // Only a node of our own keeps them elsewhere than all others do.
      ...(kind === "node" && { podLogs: inCluster("pod-logs") }),
    },
  };
}

/** What the program must be told of a cluster that was made here; of another, the committed file says it. */
function ofCluster({ kind, context, apiServerCidrs, loopbackSources }: Cluster): Record<string, object> {
  if (kind === "existing") return {};
  return {
    "groundwork:cluster": { context, apiServerCidrs },
    "groundwork:edge": { trustedProxies: loopbackSources },
  };
}
