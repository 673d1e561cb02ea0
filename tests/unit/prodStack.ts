import { readFileSync } from "node:fs";
import { join } from "node:path";

import * as pulumi from "@pulumi/pulumi";
import { vi } from "vitest";
import { parse } from "yaml";

import { at, register, type Registered } from "./mocks.ts";

/** The whole program with the committed production stack and more settings; what is `late` is answered last, as `register` says. */
export async function prod(
  more: Record<string, unknown>,
  late?: (type: string, name: string) => boolean,
): Promise<Registered[]> {
  const { config } = parse(readFileSync(join(import.meta.dirname, "../../Pulumi.prod.yaml"), "utf8")) as {
    config: Record<string, unknown>;
  };
  const settings = Object.entries({ ...config, ...more }).map(([key, value]): [string, string] => [
    key,
    typeof value === "string" ? value : JSON.stringify(value),
  ]);
  vi.resetModules();
  vi.stubEnv("PULUMI_CONFIG_SECRET_KEYS", '["groundwork:registryCredentials"]');
  return register(() => {
    pulumi.runtime.setAllConfig(Object.fromEntries(settings));
    return import("../../index.ts");
  }, late);
}

interface PodSpec {
  readonly priorityClassName?: string;
  readonly imagePullSecrets?: readonly { readonly name: string }[];
  readonly containers: readonly { readonly image: string }[];
}

/** Every pod that they would make, by the resource that makes it. */
export function pods(
  resources: readonly Registered[],
): { name: string; namespace: unknown; spec: PodSpec }[] {
  return resources.flatMap((resource) => {
    const path = resource.type.endsWith(":CronJob")
      ? "spec.jobTemplate.spec.template.spec"
      : "spec.template.spec";
    const spec = at(resource, path) as PodSpec | undefined;
    return spec ? [{ name: resource.name, namespace: at(resource, "metadata.namespace"), spec }] : [];
  });
}
