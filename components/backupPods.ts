import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { blobClient, type BlobStore } from "./blobStore.ts";
import { claimOf } from "./claims.ts";
import {
  labels,
  resources,
  restrictedContainer,
  restrictedPod,
  scratch,
  secretsPath,
} from "./podDefaults.ts";
import { secretsVolume, type SecretStore, type StoredSecret } from "./secrets/secretStore.ts";
import type { Resources } from "./types.ts";

type Environment = Readonly<Record<string, pulumi.Input<string>>>;

type ContainerParts = Pick<
  k8s.types.input.core.v1.Container,
  "ports" | "startupProbe" | "readinessProbe" | "livenessProbe"
> & {
  /** Another program than the pods' own. */
  readonly script?: string;
};

/** What every program of the backups needs. */
export interface ProgramHost {
  readonly namespace: pulumi.Output<string>;
  readonly image: pulumi.Input<string>;
  readonly store: BlobStore;
  readonly secrets: SecretStore;
  /** ConfigMap with the programs. */
  readonly scripts: k8s.core.v1.ConfigMap;
}

/** One of the programs in `k8s-manifests/backup/`, and what its pods read. */
export interface Program {
  /** The pods' name in policies and selectors, and their service account. */
  readonly name: string;
  /** File name of the program. */
  readonly script: string;
  /** CPU and memory. */
  readonly resources: Resources;
  /** Volume at `/tmp`, MiB; from `ownVolumeMiB` on a volume of each pod's own. */
  readonly scratchMiB: number;
  readonly env: Environment;
  /** File name → secret, besides the blob store's own. */
  readonly files?: Readonly<Record<string, StoredSecret>>;
}

/** A program's pods, which may still differ in some of their environment, and in their program, ports and probes. */
export interface ProgramPods {
  readonly labels: Record<string, string>;
  /** Whether each has a volume of its own, which stays for as long as the pod is there, also when it has ended. */
  readonly ownVolume: boolean;
  readonly spec: (env: Environment, container?: ContainerParts) => k8s.types.input.core.v1.PodSpec;
}

const scriptsPath = "/etc/groundwork/backup";
/** What is larger fits on no node for certain: a node promises none of its pods room on its own disk. */
const ownVolumeMiB = 4_096;

/** Makes a program's service account and secrets, under `parent`, and describes its pods. */
export function programPods(parent: pulumi.Resource, host: ProgramHost, program: Program): ProgramPods {
  const { namespace, image, store, secrets, scripts } = host;
  const { name } = program;
  const client = blobClient(store, name, namespace);
  const files = { ...program.files, ...client.files };
  const hasFiles = Object.keys(files).length > 0;
  const podLabels = labels(name, "backup");
  const { annotations } = client;
  const account = new k8s.core.v1.ServiceAccount(
    name,
    { metadata: { name, namespace, labels: podLabels, annotations }, automountServiceAccountToken: false },
    { parent },
  );
  const temporary = scratch("tmp", "/tmp", program.scratchMiB);
  const ownVolume = program.scratchMiB >= ownVolumeMiB;
  const volumes = [
    { name: "scripts", configMap: { name: scripts.metadata.name } },
    ...(hasFiles ? [secrets.mount(name, { namespace, files })] : []),
    ownVolume
      ? {
          name: temporary.volume.name,
          ephemeral: {
            volumeClaimTemplate: {
              metadata: { labels: podLabels },
              spec: claimOf(`${program.scratchMiB}Mi`),
            },
          },
        }
      : temporary.volume,
  ];
  const volumeMounts = [
    { name: "scripts", mountPath: scriptsPath, readOnly: true },
    ...(hasFiles ? [{ name: secretsVolume, mountPath: secretsPath, readOnly: true }] : []),
    temporary.mount,
  ];
  return {
    labels: { ...podLabels, ...client.labels },
    ownVolume,
    spec: (env, { script = program.script, ...container } = {}) => ({
      ...restrictedPod,
      serviceAccountName: account.metadata.name,
      containers: [
        {
          ...restrictedContainer,
          name,
          image,
          command: ["python3", `${scriptsPath}/${script}`],
          env: environment({ ...program.env, ...env, ...client.env }),
          resources: resources(program.resources),
          volumeMounts,
          ...container,
        },
      ],
      volumes,
    }),
  };
}

function environment(variables: Environment): k8s.types.input.core.v1.EnvVar[] {
  return Object.entries(variables).map(([name, value]) => ({ name, value }));
}
