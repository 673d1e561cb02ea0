import { describe, expect, test } from "vitest";

import { imageNames, imageReference } from "../../components/images.ts";
import { at, ofType } from "./mocks.ts";
import { pods, prod } from "./prodStack.ts";

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

const credentials = {
  "groundwork:registryCredentials": '{"auths":{"mirror.example.com":{"auth":"dXNlcjpwYXNz"}}}',
};

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
    ...credentials,
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

test("no pod is made before the credentials that it pulls with", async () => {
  const isPullSecret = (type: string, name: string) =>
    type.endsWith("core/v1:Secret") && name.endsWith("-registry-credentials");
  const resources = await prod(credentials, isPullSecret);
  const last = resources.findLastIndex(({ type, name }) => isPullSecret(type, name));
  expect(last).toBeGreaterThan(-1);
  expect(pods(resources.slice(0, last)).map(({ name }) => name)).toEqual([]);
  expect(pods(resources).length).toBeGreaterThan(10);
}, 60_000);

test("without credentials no pod names a pull secret, and none is made", async () => {
  const resources = await prod({});
  for (const { name, spec } of pods(resources)) expect(spec.imagePullSecrets, name).toBeUndefined();
  expect(ofType(resources, "core/v1:Secret")).toEqual([]);
}, 60_000);
