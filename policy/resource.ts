/** What the rules look at: a resource as the engine has it, with its inputs as plain values. */
export interface Resource {
  /** Pulumi type, such as `kubernetes:apps/v1:Deployment`. */
  readonly type: string;
  /** Name in the program. */
  readonly name: string;
  /** Inputs; what is not known before an `up` is missing. */
  readonly props: unknown;
  /** Whether Pulumi refuses to delete it. */
  readonly protect: boolean;
}

type Values = Record<string, unknown>;

function isValues(value: unknown): value is Values {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The value at a path such as `spec.template.spec`; undefined where there is none. */
export function at(value: unknown, path: string): unknown {
  return path.split(".").reduce<unknown>((here, key) => (isValues(here) ? here[key] : undefined), value);
}

/** The list at a path; empty where there is none. */
export function listAt(value: unknown, path: string): readonly unknown[] {
  const list = at(value, path);
  return Array.isArray(list) ? (list as unknown[]) : [];
}

/** The text at a path; empty where there is none. */
export function textAt(value: unknown, path: string): string {
  const text = at(value, path);
  return typeof text === "string" ? text : "";
}

/** The last part of the type: `Deployment`. */
export function kindOf({ type }: Resource): string {
  return type.split(":").at(-1) ?? type;
}

/** Whether it is a Kubernetes object of one of the kinds. */
export function isKubernetes(resource: Resource, ...kinds: string[]): boolean {
  return resource.type.startsWith("kubernetes:") && kinds.includes(kindOf(resource));
}

/** Whether it is an Azure resource of the module (`storage`, `keyvault`) and kind, whatever API version its type names. */
export function isAzure(resource: Resource, module: string, kind: string): boolean {
  return new RegExp(`^azure-native:${module}(/v\\w+)?:${kind}$`).test(resource.type);
}

/** The pod that a workload makes; undefined for everything else. */
export function podOf(resource: Resource): unknown {
  if (isKubernetes(resource, "Pod")) return at(resource.props, "spec");
  if (isKubernetes(resource, "CronJob")) return at(resource.props, "spec.jobTemplate.spec.template.spec");
  return isKubernetes(resource, "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job")
    ? at(resource.props, "spec.template.spec")
    : undefined;
}

/** Where kinds that make pods have their containers. */
const containerPaths = [
  "spec",
  "spec.template.spec",
  "spec.jobTemplate.spec.template.spec",
  "spec.jobTargetRef.template.spec",
  "template.spec",
];

/** Whether it makes pods, by its containers; what is not known in a preview is not looked into. */
export function holdsContainers(props: unknown): boolean {
  return containerPaths.some((path) => listAt(props, `${path}.containers`).length > 0);
}

/** Every container of a workload, those that run before it included. */
export function containersOf(resource: Resource): readonly unknown[] {
  const pod = podOf(resource);
  return [...listAt(pod, "initContainers"), ...listAt(pod, "containers")];
}

/** Labels as sorted `key=value` text, to be compared. */
function labelText(labels: unknown): string {
  return isValues(labels)
    ? Object.entries(labels)
        .map(([key, value]) => `${key}=${String(value)}`)
        .sort()
        .join(",")
    : "";
}

/** Whether two selectors are of the same labels; what is selected by expressions cannot be told here, and is another's. */
export function sameLabels(one: unknown, other: unknown): boolean {
  return (
    [one, other].every((selector) => listAt(selector, "matchExpressions").length === 0) &&
    labelText(at(one, "matchLabels")) === labelText(at(other, "matchLabels"))
  );
}

/** Whether a selector takes whatever has these labels, by its own alone: an empty one takes all, one with expressions may not. */
export function selects(selector: unknown, labels: unknown): boolean {
  const matchLabels = at(selector, "matchLabels");
  const wanted = isValues(matchLabels) ? Object.entries(matchLabels) : [];
  return (
    listAt(selector, "matchExpressions").length === 0 &&
    wanted.every(([key, value]) => isValues(labels) && labels[key] === value)
  );
}
