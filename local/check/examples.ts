/** Values of `Pulumi.prod.yaml` that are there to be replaced: right in form, and nobody's. */
import { failed, type Finding } from "./findings.ts";

const examples: readonly { readonly pattern: RegExp; readonly mend: string }[] = [
  { pattern: /registry\.example\.com/, mend: "name your registry, or set groundwork:registry" },
  { pattern: /@sha256:0{64}$/, mend: "put in the digest of the image that you pushed" },
  {
    pattern: /^0{8}-0{4}-0{4}-0{4}-0{12}$/,
    mend: "az account show: id is the subscription, tenantId the tenant",
  },
  { pattern: /^([a-z0-9-]+\.)*example\.(com|org|net)$/, mend: "put in the host name of your service" },
  { pattern: /^age1q{58}$/, mend: "make a pair with age-keygen; keep its private half outside the cluster" },
];

/** Every example that is left, by its key. */
export function leftExamples(config: Readonly<Record<string, string>>): Finding[] {
  return Object.entries(config).flatMap(([key, text]) => leaves(key, parse(text)));
}

function leaves(key: string, value: unknown): Finding[] {
  if (typeof value === "string") {
    const example = examples.find(({ pattern }) => pattern.test(value));
    return example ? [failed("example values", `${key}: ${value}`, example.mend)] : [];
  }
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, entry]) => leaves(`${key}.${name}`, entry));
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
