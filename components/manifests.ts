import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..", "k8s-manifests");

/** The files of one folder of `k8s-manifests/`, name → content, ready to be a ConfigMap's data. */
export function manifestFiles(folder: string): Record<string, string> {
  const names = readdirSync(join(root, folder), { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => entry.name)
    .sort();
  return Object.fromEntries(names.map((name) => [name, readFileSync(join(root, folder, name), "utf8")]));
}

/**
 * Pod annotation that changes with the content, so that pods roll when a file that they read at start changes;
 * Kubernetes alone would leave them running with the old one.
 */
export function checksumAnnotation(data: Readonly<Record<string, string>>): Record<string, string> {
  const hash = createHash("sha256")
    .update(JSON.stringify(Object.entries(data).sort()))
    .digest("hex");
  return { "groundwork.dev/config-checksum": hash.slice(0, 16) };
}

/** Names a Job by what it does: another name when that changes, as a Job cannot change. */
export function shortHash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 10);
}
