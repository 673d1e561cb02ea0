import { readFileSync } from "node:fs";
import { join } from "node:path";

import * as pulumi from "@pulumi/pulumi";
import { describe, expect, test, vi } from "vitest";
import { parse } from "yaml";

import { imageNames, imageReference } from "../../components/images";
import { at, ofType, register, type Registered } from "./mocks";

/** The whole program with the committed production stack and more settings. */
async function prod(more: Record<string, unknown>): Promise<Registered[]> {
  const { config } = parse(readFileSync(join(__dirname, "../../Pulumi.prod.yaml"), "utf8")) as {
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
    return import("../../index");
  });
}

interface PodSpec {
  readonly imagePullSecrets?: readonly { readonly name: string }[];
  readonly containers: readonly { readonly image: string }[];
}

function pods(resources: readonly Registered[]): { name: string; spec: PodSpec }[] {
  return resources.flatMap((resource) => {
    const path = resource.type.endsWith(":CronJob")
      ? "spec.jobTemplate.spec.template.spec"
      : "spec.template.spec";
    const spec = at(resource, path) as PodSpec | undefined;
    return spec ? [{ name: resource.name, spec }] : [];
  });
}

describe("a mirror", () => {
  test("takes the place of every upstream registry and keeps path and digest", () => {
    for (const name of imageNames) {
      const upstream = imageReference(name, {});
      const mirrored = imageReference(name, {}, "mirror.example.com/groundwork");
      if (upstream === undefined) expect(mirrored).toBeUndefined();
      else
        expect(mirrored).toBe(
          upstream.replace(/^(docker\.io|mcr\.microsoft\.com)\//, "mirror.example.com/groundwork/"),
        );
    }
    expect(imageReference("redis", {}, "mirror.example.com")).toMatch(
      /^mirror\.example\.com\/library\/redis:[^@]+@sha256:[0-9a-f]{64}$/,
    );
  });

  test("leaves alone what the map of images names", () => {
    expect(imageReference("redis", { redis: "other.example.com/redis:8" }, "mirror.example.com")).toBe(
      "other.example.com/redis:8",
    );
  });
});

test("every pod pulls from the mirror, with the credentials that every namespace has", async () => {
  const images = Object.fromEntries(
    ["app", "postgres", "exporters"].map((name) => [
      name,
      `mirror.example.com/${name}@sha256:${"0".repeat(64)}`,
    ]),
  );
  const resources = await prod({
    "groundwork:registry": "mirror.example.com",
    "groundwork:images": images,
    "groundwork:pullSecrets": ["synced"],
    "groundwork:registryCredentials": '{"auths":{"mirror.example.com":{"auth":"dXNlcjpwYXNz"}}}',
  });
  const all = pods(resources);
  expect(all.length).toBeGreaterThan(10);
  for (const { name, spec } of all) {
    expect(spec.imagePullSecrets, name).toEqual([{ name: "synced" }, { name: "registry-credentials" }]);
    for (const { image } of spec.containers) expect(image, name).toMatch(/^mirror\.example\.com\//);
  }
  const secrets = ofType(resources, "core/v1:Secret");
  expect(secrets.map((secret) => at(secret, "metadata.namespace")).sort()).toEqual([
    "app",
    "data",
    "edge",
    "monitoring",
    "node-agents",
  ]);
  for (const secret of secrets) {
    expect(at(secret, "type")).toBe("kubernetes.io/dockerconfigjson");
    expect(at(secret, "stringData")).toHaveProperty([".dockerconfigjson"]);
  }
}, 60_000);

test("without credentials no pod names a pull secret, and none is made", async () => {
  const resources = await prod({});
  for (const { name, spec } of pods(resources)) expect(spec.imagePullSecrets, name).toBeUndefined();
  expect(ofType(resources, "core/v1:Secret")).toEqual([]);
}, 60_000);
