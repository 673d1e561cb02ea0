import { azureRules } from "./azureRules.ts";
import {
  at,
  containersOf,
  holdsContainers,
  isKubernetes,
  kindOf,
  listAt,
  podOf,
  sameLabels,
  selects,
  textAt,
} from "./resource.ts";
import type { Resource } from "./resource.ts";

/** What the rules know of the stack that they look at. */
export interface StackFacts {
  readonly production: boolean;
  /** Directory of each node with its pods' logs: `logging.podLogs` of the stack. */
  readonly podLogs: string;
}

/** One thing that we would not run. */
export interface Rule {
  readonly name: string;
  /** What is demanded, for the person whose change it stops. */
  readonly description: string;
  /** What is wrong with the resource, in the resource's own terms; `all` are the stack's. Nothing when it is fine. */
  readonly check: (resource: Resource, stack: StackFacts, all: readonly Resource[]) => readonly string[];
  /** Looks at other resources, too: can only be judged when all are known. */
  readonly wholeStack?: true;
}

const always = ["Deployment", "StatefulSet", "DaemonSet"];

/** A complaint for each container that fails the test. */
function eachContainer(fine: (container: unknown, resource: Resource) => boolean, complaint: string) {
  return (resource: Resource): readonly string[] =>
    containersOf(resource)
      .filter((container) => !fine(container, resource))
      .map((container) => `container ${textAt(container, "name")} ${complaint}`);
}

function complaint(wrong: boolean, text: string): readonly string[] {
  return wrong ? [text] : [];
}

/** Whether a budget ever lets a pod be evicted: a drain waits forever for one that does not. */
function letsOneGo(budget: unknown, replicas: number): boolean {
  // Shares are of the replicas, and rounded up.
  const pods = (count: unknown): number =>
    String(count).endsWith("%") ? Math.ceil((parseFloat(String(count)) / 100) * replicas) : Number(count);
  return pods(at(budget, "maxUnavailable") ?? 1) > 0 && pods(at(budget, "minAvailable") ?? 0) < replicas;
}

/** A setting of the container or, where it sets none, of its pod. */
function security(container: unknown, resource: Resource, field: string): unknown {
  return at(container, `securityContext.${field}`) ?? at(podOf(resource), `securityContext.${field}`);
}

/** What only processes of the app are told: where its data is, and which keys it reads that by. */
const variablesOfTheApp = [
  "DATABASE_URL",
  "REDIS_CACHE_URL",
  "REDIS_QUEUE_URL",
  "JWT_KEYS_FILE",
  "FIELD_KEYS_FILE",
];

const imageWithDigest = /@sha256:[0-9a-f]{64}$/;
const imageWithTag = /:[\w][\w.-]*$/;

const kubernetesRules: readonly Rule[] = [
  {
    name: "container-resources",
    description: "Every container requests CPU and memory and limits its memory.",
    check: eachContainer(
      (container) =>
        ["requests.cpu", "requests.memory", "limits.memory"].every(
          (field) => at(container, `resources.${field}`) !== undefined,
        ),
      "must set resources.requests.cpu, requests.memory and limits.memory",
    ),
  },
  {
    name: "container-probes",
    // Readiness is that of what serves: a sidecar's would take its pod out of service for figures nobody waits for.
    description: "Every container that keeps running has a liveness probe, and every pod a readiness probe.",
    check: (resource) => {
      if (!isKubernetes(resource, ...always)) return [];
      const containers = listAt(podOf(resource), "containers");
      return [
        ...containers
          .filter((container) => !at(container, "livenessProbe"))
          .map((container) => `container ${textAt(container, "name")} must have a livenessProbe`),
        ...complaint(
          !containers.some((container) => at(container, "readinessProbe")),
          "one of its containers must have a readinessProbe",
        ),
      ];
    },
  },
  {
    name: "non-root",
    description: "Containers run as an unprivileged user and cannot gain privileges.",
    check: eachContainer(
      (container, resource) =>
        security(container, resource, "runAsNonRoot") === true &&
        security(container, resource, "runAsUser") !== 0 &&
        at(container, "securityContext.privileged") !== true &&
        at(container, "securityContext.allowPrivilegeEscalation") === false,
      "must set runAsNonRoot: true and allowPrivilegeEscalation: false, and not run as user 0 or privileged",
    ),
  },
  {
    name: "read-only-root",
    description: "Containers cannot write to their image's file system.",
    check: eachContainer(
      (container) => at(container, "securityContext.readOnlyRootFilesystem") === true,
      "must set readOnlyRootFilesystem: true",
    ),
  },
  {
    name: "dropped-capabilities",
    description: "Containers drop every capability and run under the runtime's seccomp profile.",
    check: eachContainer(
      (container, resource) =>
        listAt(container, "securityContext.capabilities.drop").includes("ALL") &&
        listAt(container, "securityContext.capabilities.add").length === 0 &&
        at(security(container, resource, "seccompProfile"), "type") === "RuntimeDefault",
      "must drop ALL capabilities, add none, and use the seccomp profile RuntimeDefault",
    ),
  },
  {
    name: "immutable-image",
    description: "Images name a version; in production they are given by digest.",
    check: (resource, { production }) =>
      containersOf(resource).flatMap((container) => {
        const image = textAt(container, "image");
        const fine =
          imageWithDigest.test(image) ||
          (!production && imageWithTag.test(image) && !image.endsWith(":latest"));
        const wanted = production ? "a digest (name@sha256:…)" : "a tag other than latest, or a digest";
        return complaint(
          !fine,
          `container ${textAt(container, "name")} runs ${image || "no image"}, which must have ${wanted}`,
        );
      }),
  },
  {
    name: "no-host-access",
    description: "Pods share nothing with their host: no network, processes, IPC, ports or paths.",
    check: (resource) => {
      const pod = podOf(resource);
      const shared = ["hostNetwork", "hostPID", "hostIPC"].filter((field) => at(pod, field) === true);
      const mounts = containersOf(resource).flatMap((container) => listAt(container, "volumeMounts"));
      const paths = listAt(pod, "volumes").flatMap((volume) => {
        const path = textAt(volume, "hostPath.path");
        const written = mounts.some(
          (mount) => at(mount, "name") === at(volume, "name") && at(mount, "readOnly") !== true,
        );
        return path === "" ? [] : `must not ${written ? "write to" : "read"} ${path} of the host`;
      });
      const ports = containersOf(resource)
        .flatMap((container) => listAt(container, "ports"))
        .filter((port) => at(port, "hostPort") !== undefined);
      return [
        ...shared.map((field) => `${field} must not be true`),
        ...paths,
        ...complaint(ports.length > 0, "must not use hostPort"),
      ];
    },
  },
  {
    name: "no-wildcard-roles",
    description:
      "Roles name what they allow: no wildcard verbs, resources or API groups; nobody is cluster-admin.",
    check: (resource) => {
      if (isKubernetes(resource, "RoleBinding", "ClusterRoleBinding")) {
        return complaint(
          textAt(resource.props, "roleRef.name") === "cluster-admin",
          "must not bind cluster-admin",
        );
      }
      return isKubernetes(resource, "Role", "ClusterRole")
        ? listAt(resource.props, "rules").flatMap((rule) =>
            ["verbs", "resources", "apiGroups"]
              .filter((field) => listAt(rule, field).includes("*"))
              .map((field) => `must list its ${field}, not "*"`),
          )
        : [];
    },
  },
  {
    name: "credentials-required",
    description: "In production the app refuses to start without its credentials.",
    check: (resource, { production }) =>
      containersOf(resource).flatMap((container) => {
        const environment = listAt(container, "env");
        const names = environment.map((entry) => textAt(entry, "name"));
        // A job does one thing, and says itself which of them that takes.
        const ofTheApp =
          !isKubernetes(resource, "Job", "CronJob") && variablesOfTheApp.some((name) => names.includes(name));
        const required = environment.find((entry) => textAt(entry, "name") === "REQUIRE_CREDENTIALS");
        return complaint(
          // The app's own default is false.
          production && (ofTheApp || required !== undefined) && textAt(required, "value") !== "true",
          `container ${textAt(container, "name")} must set REQUIRE_CREDENTIALS to "true"`,
        );
      }),
  },
  {
    name: "judged-kinds",
    description:
      "Pods are made by kinds that these rules know, and nothing is made by charts, lists or patches.",
    check: (resource) => {
      const kind = kindOf(resource);
      const hidden = /(List|Patch)$/.test(kind) || kind === "Release";
      return complaint(
        resource.type.startsWith("kubernetes:") &&
          // A claim's size, which its StatefulSet cannot change.
          kind !== "PersistentVolumeClaimPatch" &&
          (hidden || (podOf(resource) === undefined && holdsContainers(resource.props))),
        `no rule can judge a ${kind}: make the objects themselves, of kinds that policy/resource.ts knows`,
      );
    },
  },
  {
    name: "disruption-budget",
    description: "Every workload with several replicas has a PodDisruptionBudget that lets one of them go.",
    wholeStack: true,
    check: (resource, _stack, all) => {
      // Of others a preview may not know what is asked for.
      if (!isKubernetes(resource, "Deployment", "StatefulSet")) return [];
      const replicas = Number(at(resource.props, "spec.replicas") ?? 1);
      const selector = at(resource.props, "spec.selector");
      const namespace = textAt(resource.props, "metadata.namespace");
      const covered = all.some(
        (other) =>
          isKubernetes(other, "PodDisruptionBudget") &&
          textAt(other.props, "metadata.namespace") === namespace &&
          sameLabels(at(other.props, "spec.selector"), selector) &&
          letsOneGo(at(other.props, "spec"), replicas),
      );
      return complaint(
        replicas > 1 && !covered,
        "has several replicas and no PodDisruptionBudget with its labels, in its namespace, that lets one of them go",
      );
    },
  },
  {
    name: "network-policy",
    description: "The pods behind every Service are selected by a NetworkPolicy for what comes in.",
    wholeStack: true,
    check: (resource, _stack, all) => {
      const selector = at(resource.props, "spec.selector");
      if (!isKubernetes(resource, "Service") || !selector) return [];
      const namespace = textAt(resource.props, "metadata.namespace");
      const covered = all.some(
        (other) =>
          isKubernetes(other, "NetworkPolicy") &&
          textAt(other.props, "metadata.namespace") === namespace &&
          listAt(other.props, "spec.policyTypes").includes("Ingress") &&
          selects(at(other.props, "spec.podSelector"), selector),
      );
      return complaint(!covered, "no NetworkPolicy for ingress selects its pods");
    },
  },
  {
    name: "data-is-kept",
    description: "In production volumes outlive their workload.",
    check: (resource, { production }) =>
      complaint(
        production &&
          isKubernetes(resource, "StatefulSet") &&
          listAt(resource.props, "spec.volumeClaimTemplates").length > 0 &&
          textAt(resource.props, "spec.persistentVolumeClaimRetentionPolicy.whenDeleted") !== "Retain",
        `${kindOf(resource)} must set persistentVolumeClaimRetentionPolicy.whenDeleted to Retain`,
      ),
  },
];

export const rules: readonly Rule[] = [...kubernetesRules, ...azureRules];
