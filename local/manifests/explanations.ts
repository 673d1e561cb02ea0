/** What kube-score calls critical and stays: each with the reason. One that is no longer found fails the check, too. */
export interface Explanation {
  /** kube-score's name of the check. */
  readonly check: string;
  /** `Kind/namespace/name` of each object, or all that have it. */
  readonly objects: "all" | readonly string[];
  readonly reason: string;
}

export const explanations: readonly Explanation[] = [
  {
    check: "container-resources",
    objects: "all",
    reason:
      "Only the CPU limit is not set, on purpose: requests divide the processors when they are short, and what is idle may be " +
      "used. A limit would throttle a container beside an idle processor. Memory has requests and limits.",
  },
  {
    check: "container-ephemeral-storage-request-and-limit",
    objects: "all",
    reason:
      "What a pod may write on its node is bounded without it: root file systems are read-only, every emptyDir has a " +
      "sizeLimit, and the kubelet rotates logs (asked by `make checklist`).",
  },
  {
    check: "container-image-pull-policy",
    objects: "all",
    reason:
      "Images are named by digest or by the hash of their content, which the policy pack demands in production: a tag that " +
      "moves cannot hide behind a copy on the node, and a pod starts while the registry is away.",
  },
  {
    check: "pod-probes-identical",
    objects: [
      "DaemonSet/monitoring/node-exporter",
      "DaemonSet/node-agents/log-agent",
      "Deployment/data/backup-exporter",
      "Deployment/edge/edge",
      "Deployment/monitoring/blackbox",
      "Deployment/monitoring/grafana",
      "Deployment/monitoring/prober",
      "Deployment/monitoring/trace-gateway",
      "StatefulSet/data/azurite",
      "StatefulSet/data/redis-cache",
      "StatefulSet/data/redis-queue",
      "StatefulSet/monitoring/jaeger",
      "StatefulSet/monitoring/loki",
    ],
    reason:
      "Both ask the process about itself and nothing behind it, so that readiness has no more to know; liveness waits for more " +
      "failures. App, workers, Postgres and Prometheus, which are alive before they are ready, have two different ones.",
  },
  {
    check: "networkpolicy-targets-pod",
    objects: [
      "NetworkPolicy/app/app-candidate-flows",
      "NetworkPolicy/data/azurite-flows",
      "NetworkPolicy/monitoring/jaeger-flows",
      "NetworkPolicy/monitoring/loki-flows",
      "NetworkPolicy/monitoring/trace-gateway-flows",
    ],
    reason:
      "Policies are there before the pods: a release makes the candidate's, and the others are switched on and off by settings " +
      "while the flows (components/flows.ts) are the same for every stack.",
  },
  {
    check: "service-targets-pod",
    objects: ["Service/app/app-candidate-metrics"],
    reason: "Prometheus finds a new version by it; its pods exist during a release only.",
  },
  {
    check: "statefulset-has-servicename",
    objects: ["StatefulSet/data/azurite"],
    reason:
      "Its Service is asked by name as one address, and there is one pod: nobody needs a name for each.",
  },
  {
    check: "container-security-context-user-group-id",
    objects: ["DaemonSet/node-agents/log-agent"],
    reason:
      "Log files belong to root and its group. The user is unprivileged and only its group is 0; the mount is read-only.",
  },
  {
    check: "deployment-targeted-by-hpa-does-not-have-replicas-configured",
    objects: ["Deployment/app/app"],
    reason:
      "The number is for the first rollout, before the autoscaler has figures. The program ignores it afterwards " +
      "(`ignoreChanges: spec.replicas`), so that an `up` never undoes what the autoscaler did.",
  },
];
