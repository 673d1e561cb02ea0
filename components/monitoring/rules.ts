import { parse } from "yaml";
import { z } from "zod";

import { manifestFiles } from "../manifests.ts";
import type { MetricsTarget } from "../types.ts";
import { checkPromql } from "./promql.ts";

const duration = z.string().regex(/^(\d+(ms|[smhdwy]))+$/, "must be a duration such as 5m or 1h30m");
const texts = z.record(z.string(), z.string());
const common = { expr: z.string(), labels: texts.optional() };
const rule = z.union(
  [
    z.strictObject({
      ...common,
      alert: z.string().regex(/^\w+$/),
      for: duration.optional(),
      annotations: texts,
    }),
    z.strictObject({ ...common, record: z.string().regex(/^[a-z_]\w*(:\w+)*$/i) }),
  ],
  "must be an alert (alert, expr, for, labels, annotations) or a recording rule (record, expr, labels)",
);
const ruleFile = z.strictObject({
  groups: z.array(z.strictObject({ name: z.string(), interval: duration.optional(), rules: z.array(rule) })),
});

/** Rules that are evaluated one after the other. */
export interface RuleGroup {
  readonly name: string;
  readonly interval?: string | undefined;
  readonly rules: readonly {
    readonly alert?: string;
    readonly record?: string;
    readonly expr: string;
    readonly labels?: Readonly<Record<string, string>> | undefined;
  }[];
}

/** The files of `k8s-manifests/prometheus/rules`, so far checked that a mistake stops a preview and not Prometheus. */
export function ruleFiles(): Record<string, string> {
  const files = manifestFiles("prometheus/rules");
  for (const [name, text] of Object.entries(files))
    checkRules(`k8s-manifests/prometheus/rules/${name}`, text);
  return files;
}

/** The same, read: file without its ending → its groups. */
export function ruleGroups(): Record<string, readonly RuleGroup[]> {
  const files = Object.entries(ruleFiles());
  return Object.fromEntries(
    files.map(([name, text]) => [name.replace(/\.yaml$/, ""), ruleFile.parse(parse(text)).groups]),
  );
}

/** How many pods of each workload there are at least, for the alert PodsMissing. One that is alone is missed by TargetMissing. */
export function expectedPods(targets: readonly MetricsTarget[]): RuleGroup {
  const rules = targets.flatMap(({ job, pods = 1 }) =>
    pods > 1 ? [{ record: "job:pods:expected", expr: `vector(${pods})`, labels: { job } }] : [],
  );
  return { name: "pods", rules };
}

/** @throws {Error} naming the file, the rule and what is wrong with it. */
export function checkRules(file: string, text: string): void {
  const { success, data, error } = ruleFile.safeParse(parsed(file, text));
  if (!success) {
    const problems = error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`);
    throw new Error(`${file}: ${problems.join("; ")}`);
  }
  for (const entry of data.groups.flatMap(({ rules }) => rules)) {
    checkPromql(`${file}: ${"alert" in entry ? entry.alert : entry.record}`, entry.expr);
  }
}

function parsed(file: string, text: string): unknown {
  try {
    return parse(text) as unknown;
  } catch (error) {
    throw new Error(`${file} is no YAML: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}
