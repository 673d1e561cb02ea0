/** KEDA and metrics-server by their own manifests, their programs from this machine in pods of an image that the node has. */
import type { V1APIService, V1Deployment, V1PodSpec } from "@kubernetes/client-node";
import { join } from "node:path";
import { expect } from "vitest";
import { parseAllDocuments, stringify } from "yaml";
import type { GoModuleName } from "../../local/goModules.ts";
import { fetchGoSource } from "../../local/gotools.ts";
import { environment, get, kubectl, kubectlWith, waitFor } from "./support.ts";

interface Scaler {
  /** The local module that pins it, and its path. */
  readonly module: GoModuleName;
  readonly path: string;
  /** Below the module. */
  readonly manifests: string;
  /** Directory on this machine that has its programs. */
  readonly programs: string;
  /** Deployment → its program. */
  readonly deployments: Readonly<Record<string, string>>;
  readonly namespace: string;
  readonly apiService: string;
}

const scalers: readonly Scaler[] = [
  {
    module: "keda",
    path: "github.com/kedacore/keda/v2",
    manifests: "config/minimal",
    programs: environment("KEDA"),
    deployments: { "keda-operator": "operator", "keda-metrics-apiserver": "adapter" },
    namespace: "keda",
    apiService: "v1beta1.external.metrics.k8s.io",
  },
  {
    module: "metrics-server",
    path: "sigs.k8s.io/metrics-server",
    manifests: "manifests/base",
    programs: environment("METRICS_SERVER"),
    deployments: { "metrics-server": "metrics-server" },
    namespace: "kube-system",
    apiService: "v1beta1.metrics.k8s.io",
  },
];

/** @returns what removes them again. */
export async function startScalers(image: string): Promise<() => Promise<void>> {
  const manifests = await Promise.all(scalers.map((scaler) => manifestsOf(scaler, image)));
  const stop = async (): Promise<void> => {
    for (const text of manifests) await kubectlWith(text, "delete", "--ignore-not-found", "--filename=-");
  };
  try {
    for (const text of manifests) await kubectlWith(text, "apply", "--server-side", "--filename=-");
    for (const { apiService, namespace, deployments } of scalers) {
      for (const name of Object.keys(deployments))
        await kubectl("rollout", "status", `--namespace=${namespace}`, `deploy/${name}`, "--timeout=110s");
      await waitFor(apiService, 120, async () => {
        const { status } = (await get("apiservice", apiService)) as V1APIService;
        expect(status?.conditions).toContainEqual(
          expect.objectContaining({ type: "Available", status: "True" }),
        );
      });
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return stop;
}

async function manifestsOf(scaler: Scaler, image: string): Promise<string> {
  const sources = await fetchGoSource(scaler.module, scaler.path);
  const text = await kubectl("kustomize", join(sources, scaler.manifests));
  const objects = parseAllDocuments(text).map((document) => document.toJS() as V1Deployment);
  for (const object of objects) {
    const { kind, metadata, spec } = object;
    const program = scaler.deployments[metadata?.name ?? ""];
    if (kind === "Deployment" && program !== undefined && spec?.template.spec)
      runHere(spec.template.spec, scaler.programs, program, image);
  }
  return objects.map((object) => stringify(object)).join("---\n");
}

/** The program of this machine in place of the image's, which cannot be had here. */
function runHere(pod: V1PodSpec, programs: string, program: string, image: string): void {
  (pod.volumes ??= []).push({ name: "programs", hostPath: { path: programs, type: "Directory" } });
  for (const container of pod.containers) {
    container.image = image;
    container.imagePullPolicy = "IfNotPresent";
    container.command = [`/programs/${program}`];
    (container.volumeMounts ??= []).push({ name: "programs", mountPath: "/programs", readOnly: true });
    if (program === "metrics-server")
      container.args?.push(
        "--kubelet-certificate-authority=/var/run/secrets/kubernetes.io/serviceaccount/ca.crt",
      );
  }
}
