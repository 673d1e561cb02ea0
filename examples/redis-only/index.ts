// A program of somebody else's that takes one component: a Redis that may be lost, in a namespace of its own.
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { clusterProvider } from "../../components/cluster.ts";
import { requireImage } from "../../components/images.ts";
import { Redis } from "../../components/redis.ts";
import { KubernetesSecretStore } from "../../components/secrets/kubernetesSecretStore.ts";

const config = new pulumi.Config("redis-only");
const image = requireImage({ exporters: config.require("exporterImage") });

const provider = clusterProvider({ context: config.require("context") });
const namespace = new k8s.core.v1.Namespace(
  "cache",
  { metadata: { name: "cache", labels: { "pod-security.kubernetes.io/enforce": "restricted" } } },
  { provider },
).metadata.name;

const secrets = new KubernetesSecretStore("secrets", { provider });
const cache = new Redis(
  "cache",
  {
    namespace,
    image: image("redis"),
    exporterImage: image("exporters"),
    purpose: "cache",
    separateNodes: false,
    retainData: false,
    resources: { cpuMillis: 50, memoryMiB: 128 },
    certificate: {
      bundle: secrets.keep("redis-tls", config.requireSecret("tls")),
      ca: secrets.keep("internal-ca", config.requireSecret("ca")),
    },
    secrets,
  },
  { provider },
);

/** What a client needs to know. */
export const url = pulumi.interpolate`rediss://${cache.user}@${cache.endpoint.host}:${cache.endpoint.port}`;
/** The user's password. */
export const password = cache.password.value;
