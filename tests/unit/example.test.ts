import * as pulumi from "@pulumi/pulumi";
import { beforeAll, describe, expect, test } from "vitest";

import { at, ofType, register, type Registered } from "./mocks.ts";

describe("a program that takes one component", () => {
  let resources: Registered[];
  beforeAll(async () => {
    pulumi.runtime.setAllConfig({
      "redis-only:context": "kind",
      "redis-only:exporterImage": "exporters:1",
      "redis-only:tls": "pem of the server",
      "redis-only:ca": "pem of the authority",
    });
    resources = await register(() => import("../../examples/redis-only/index.ts"));
  });

  test("has that component's resources and none of the rest of the stack's", () => {
    const names = ofType(resources, ":StatefulSet").map((resource) => at(resource, "metadata.name"));
    expect(names).toEqual(["redis-cache"]);
    expect(ofType(resources, ":Deployment")).toEqual([]);
    expect(resources.filter(({ type }) => type.startsWith("azure-native:"))).toEqual([]);
  });

  test("has it in its own namespace, with its own certificate", () => {
    const placed = resources.flatMap((resource) => at(resource, "metadata.namespace") ?? []);
    expect(new Set(placed)).toEqual(new Set(["cache"]));
    const secret = ofType(resources, ":Secret").find(
      (one) => at(one, "metadata.name") === "redis-cache-secrets",
    );
    expect(at(secret, "stringData")).toMatchObject({
      "tls.pem": "pem of the server",
      "ca.crt": "pem of the authority",
    });
  });

  test("tells its clients where it answers", async () => {
    const { url } = await import("../../examples/redis-only/index.ts");
    const shown = await new Promise((resolve) => url.apply(resolve));
    expect(shown).toBe("rediss://app@redis-cache.cache.svc.cluster.local:6379");
  });
});
