import { join } from "node:path";

/** The Go programs that the stack needs on this machine, pinned by the go.mod of their directory in local/modules. */
export interface GoModule {
  /** Program name → the package it is built from. */
  readonly programs: Readonly<Record<string, string>>;
  /** Linker settings `-X variable=value`. */
  readonly variables?: Readonly<Record<string, string>>;
  /** Needs a C compiler and libseccomp's headers. */
  readonly seccomp?: boolean;
  /** What a first build usually takes on two cores, and the disk it wants for sources, build cache and result. */
  readonly minutes: number;
  readonly diskGiB: number;
}

const kubernetesVersion = "1.37.2";
const pulumiVersion = "3.259.0";

export const goModules = {
  pulumi: {
    programs: { pulumi: "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi" },
    variables: { "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version": pulumiVersion },
    minutes: 6,
    diskGiB: 5,
  },
  kubernetes: {
    programs: {
      "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
      "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
      "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
      "kube-proxy": "k8s.io/kubernetes/cmd/kube-proxy",
      kubelet: "k8s.io/kubernetes/cmd/kubelet",
      kubectl: "k8s.io/kubernetes/cmd/kubectl",
    },
    variables: {
      "k8s.io/component-base/version.gitVersion": `v${kubernetesVersion}`,
      "k8s.io/component-base/version.gitMajor": kubernetesVersion.split(".")[0] ?? "",
      "k8s.io/component-base/version.gitMinor": kubernetesVersion.split(".")[1] ?? "",
      "k8s.io/component-base/version.gitTreeState": "clean",
    },
    minutes: 10,
    diskGiB: 5,
  },
  kind: { programs: { kind: "sigs.k8s.io/kind" }, minutes: 1, diskGiB: 1 },
  etcd: { programs: { etcd: "go.etcd.io/etcd/server/v3" }, minutes: 1, diskGiB: 2 },
  containerd: {
    programs: {
      containerd: "github.com/containerd/containerd/v2/cmd/containerd",
      "containerd-shim-runc-v2": "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
      ctr: "github.com/containerd/containerd/v2/cmd/ctr",
    },
    minutes: 2,
    diskGiB: 2,
  },
  runc: { programs: { runc: "github.com/opencontainers/runc" }, seccomp: true, minutes: 0.5, diskGiB: 1 },
  coredns: { programs: { coredns: "." }, minutes: 2, diskGiB: 3 },
  actionlint: {
    programs: { actionlint: "github.com/rhysd/actionlint/cmd/actionlint" },
    minutes: 0.5,
    diskGiB: 0.5,
  },
  gitleaks: { programs: { gitleaks: "github.com/zricethezav/gitleaks/v8" }, minutes: 2, diskGiB: 1 },
  "kube-score": {
    programs: { "kube-score": "github.com/zegl/kube-score/cmd/kube-score" },
    minutes: 1,
    diskGiB: 1,
  },
  kubelogin: { programs: { kubelogin: "github.com/Azure/kubelogin" }, minutes: 1, diskGiB: 1 },
  loki: { programs: { loki: "github.com/grafana/loki/v3/cmd/loki" }, minutes: 25, diskGiB: 6 },
  telemetry: {
    programs: { "otelcol-contrib": ".", jaeger: "github.com/jaegertracing/jaeger/cmd/jaeger" },
    minutes: 15,
    diskGiB: 5,
  },
  k6: { programs: { k6: "go.k6.io/k6" }, minutes: 8, diskGiB: 3 },
  pause: { programs: { pause: "." }, minutes: 0.1, diskGiB: 0.2 },
  "secrets-csi": {
    programs: {
      "secrets-store-csi-driver": "sigs.k8s.io/secrets-store-csi-driver/cmd/secrets-store-csi-driver",
      register: ".",
    },
    minutes: 3,
    diskGiB: 2,
  },
  keda: {
    programs: {
      operator: "github.com/kedacore/keda/v2/cmd/operator",
      adapter: "github.com/kedacore/keda/v2/cmd/adapter",
    },
    minutes: 12,
    diskGiB: 5,
  },
  "metrics-server": {
    programs: { "metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server" },
    minutes: 3,
    diskGiB: 2,
  },
  "keyvault-provider": {
    programs: { "keyvault-provider": "github.com/Azure/secrets-store-csi-driver-provider-azure/cmd" },
    minutes: 2,
    diskGiB: 1,
  },
} as const satisfies Readonly<Record<string, GoModule>>;

/** Where go.mod and go.sum pin a module, and where its own sources are. */
export function moduleDirectory(name: string): string {
  return join(import.meta.dirname, "modules", name);
}

export type GoModuleName = keyof typeof goModules;
