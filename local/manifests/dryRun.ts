/**
 * Has an API server judge rendered objects as it would those of an `up`: unknown fields, values, admission, Pod Security
 * Standards. Nothing is kept but, for as long as it takes, namespaces like the stack's own under other names.
 */
import { randomBytes } from "node:crypto";
import type { KubernetesObject } from "./rendered.ts";

export type Kubectl = (args: readonly string[], input?: string) => Promise<{ failed: boolean; text: string }>;

export interface Judgement {
  /** Number of objects that the API server was asked about. */
  readonly asked: number;
  readonly problems: readonly string[];
  /** Kinds that this cluster does not know, so that nothing was said about them. */
  readonly unknownKinds: readonly string[];
}

const manager = "--field-manager=groundwork-dry-run";

/** Renames a stack's namespaces wherever an object names one, and leaves ports of nodes to the API server. */
export function moved(object: KubernetesObject, namespaces: ReadonlyMap<string, string>): KubernetesObject {
  const rename = (value: unknown, key: string): unknown => {
    if (Array.isArray(value)) return value.map((entry) => rename(entry, key));
    if (typeof value === "object" && value !== null)
      return Object.fromEntries(
        Object.entries(value)
          .filter(([name]) => name !== "nodePort" && name !== "healthCheckNodePort")
          .map(([name, entry]) => [name, rename(entry, name)]),
      );
    return key === "namespace" && typeof value === "string" ? (namespaces.get(value) ?? value) : value;
  };
  const renamed = rename(object, "") as KubernetesObject;
  if (object.kind !== "Namespace") return renamed;
  const name = namespaces.get(object.metadata.name) ?? object.metadata.name;
  return { ...renamed, metadata: { ...renamed.metadata, name } };
}

const enforced = "pod-security.kubernetes.io/enforce";

/** What is enforced on pods is a warning for what makes them, such as a Deployment. */
function warning(namespace: KubernetesObject): KubernetesObject {
  const standard = namespace.metadata.labels?.[enforced];
  if (standard === undefined) return namespace;
  const labels = { ...namespace.metadata.labels, "pod-security.kubernetes.io/warn": standard };
  return { ...namespace, metadata: { ...namespace.metadata, labels } };
}

/** `group/version` and kind of everything that the cluster knows. */
async function knownKinds(kubectl: Kubectl): Promise<Set<string>> {
  const { failed, text } = await kubectl(["api-resources", "--no-headers"]);
  if (failed) throw new Error(`the cluster does not say what it knows: ${text}`);
  return new Set(
    text
      .trim()
      .split("\n")
      .map((line) => {
        const [kind = "", , version = ""] = line.trim().split(/\s+/).reverse();
        return `${version} ${kind}`;
      }),
  );
}

export async function judge(objects: readonly KubernetesObject[], kubectl: Kubectl): Promise<Judgement> {
  const known = await knownKinds(kubectl);
  const isKnown = ({ apiVersion, kind }: KubernetesObject): boolean => known.has(`${apiVersion} ${kind}`);
  const prefix = `dry-run-${randomBytes(3).toString("hex")}`;
  const own = objects.filter(({ kind }) => kind === "Namespace");
  const names = new Map(own.map(({ metadata }) => [metadata.name, `${prefix}-${metadata.name}`]));
  const list = (items: readonly KubernetesObject[]): string =>
    JSON.stringify({ apiVersion: "v1", kind: "List", items: items.map((item) => moved(item, names)) });
  try {
    const made = await kubectl(["create", "--validate=strict", "--filename=-"], list(own.map(warning)));
    if (made.failed) return { asked: own.length, problems: made.text.trim().split("\n"), unknownKinds: [] };
    const others = objects.filter((object) => object.kind !== "Namespace" && isKnown(object));
    const apply = ["apply", "--server-side", "--dry-run=server", "--force-conflicts", "--validate=strict"];
    const { text } = await kubectl([...apply, manager, "--output=name", "--filename=-"], list(others));
    const lines = text.split("\n").filter((line) => line.trim() !== "");
    const accepted = lines.filter((line) => /^[a-z]+(\.[a-z0-9.]+)?\/\S+$/.test(line));
    const problems = lines.filter((line) => !accepted.includes(line));
    if (problems.length === 0 && accepted.length !== others.length)
      problems.push(`${others.length} objects were sent and ${accepted.length} accepted`);
    return {
      asked: own.length + others.length,
      problems: problems.map((line) => line.replaceAll(`${prefix}-`, "")),
      unknownKinds: [...new Set(objects.filter((object) => !isKnown(object)).map(({ kind }) => kind))],
    };
  } finally {
    await kubectl(["delete", "namespace", ...names.values(), "--ignore-not-found", "--wait=false"]);
  }
}
