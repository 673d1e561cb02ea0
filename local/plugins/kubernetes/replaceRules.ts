import { at, type JsonObject } from "../common/wire.ts";
import { apiVersionOf, kindOf } from "./objects.ts";

export interface Mutability {
  configMaps: boolean;
  secrets: boolean;
}

const VOLUME_SOURCES =
  "awsElasticBlockStore azureDisk azureFile cephfs cinder csi fc flexVolume flocker gcePersistentDisk glusterfs " +
  "hostPath iscsi local nfs photonPersistentDisk portworxVolume quobyte rbd scaleIO storageos vsphereVolume";

const POD_FIELDS =
  "affinity automountServiceAccountToken dnsConfig dnsPolicy enableServiceLinks hostAliases hostIPC hostNetwork " +
  "hostPID hostname imagePullSecrets nodeName nodeSelector overhead preemptionPolicy priority priorityClassName " +
  "readinessGates restartPolicy runtimeClassName schedulerName securityContext serviceAccount serviceAccountName " +
  "shareProcessNamespace subdomain terminationGracePeriodSeconds volumes containers initContainers";

const inSpec = (fields: string): string[] => fields.split(" ").map((field) => `spec.${field}`);

/** Fields that the API server refuses to change (or whose change would not take), by API group and kind. */
const RULES: Record<string, string[]> = {
  "apps/DaemonSet": ["spec.selector"],
  "apps/Deployment": ["spec.selector"],
  "apps/StatefulSet": inSpec(
    "podManagementPolicy revisionHistoryLimit selector serviceName volumeClaimTemplates",
  ),
  "batch/Job": inSpec("completions parallelism selector template"),
  "rbac.authorization.k8s.io/ClusterRoleBinding": ["roleRef"],
  "rbac.authorization.k8s.io/RoleBinding": ["roleRef"],
  "storage.k8s.io/StorageClass": ["parameters", "provisioner"],
  "/PersistentVolume": inSpec(VOLUME_SOURCES),
  "/PersistentVolumeClaim": inSpec("accessModes selector storageClassName volumeName"),
  "/Pod": inSpec(POD_FIELDS),
  "/ResourceQuota": ["spec.scopes"],
  "/Secret": ["type"],
  "/Service": ["spec.clusterIP"],
};

/** The paths whose change replaces this object. */
export function replacePaths(object: JsonObject, mutable: Mutability): string[] {
  const apiVersion = apiVersionOf(object);
  const group = apiVersion.includes("/") ? (apiVersion.split("/")[0] ?? "") : "";
  const kind = kindOf(object);
  const paths = ["metadata.name", "metadata.namespace", ...(RULES[`${group}/${kind}`] ?? [])];
  const immutable = at(object, "immutable") === true;
  if (group === "" && kind === "ConfigMap" && (immutable || !mutable.configMaps))
    paths.push("data", "binaryData");
  if (group === "" && kind === "Secret" && (immutable || !mutable.secrets)) paths.push("data", "stringData");
  return paths;
}

/** Whether a changed path is, or lies within, one of the rules' paths. */
export function forcesReplace(path: (string | number)[], rules: string[]): boolean {
  const steps = path.filter((step) => typeof step === "string");
  return rules.some((rule) => rule.split(".").every((part, index) => steps[index] === part));
}
