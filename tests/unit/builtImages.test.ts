import { join } from "node:path";
import { existsSync } from "node:fs";

import * as pulumi from "@pulumi/pulumi";
import { describe, expect, test } from "vitest";

import { stackImage } from "../../components/builtImages.ts";
import { readConfig } from "../../components/config.ts";
import type { ImageMap, ImageName } from "../../components/images.ts";
import { at, ofType, register } from "./mocks.ts";

const digest = `@sha256:${"1".repeat(64)}`;
const build = { repository: "example.azurecr.io/groundwork", platform: "linux/arm64" };

async function looked(images: ImageMap, names: readonly ImageName[]) {
  let references: string[] = [];
  const registered = await register(async () => {
    const image = stackImage({ images, build });
    references = await new Promise((resolve) => {
      pulumi.all(names.map((name) => image(name))).apply(resolve);
    });
  });
  return { references, built: ofType(registered, "docker:index/image:Image") };
}

describe("images that the stack builds", () => {
  test("are pushed to the repository, and run by the digest that the registry gave them", async () => {
    const { references, built } = await looked({}, ["app", "postgres", "exporters", "nginx"]);
    expect(built.map(({ inputs }) => inputs["imageName"])).toEqual([
      "example.azurecr.io/groundwork/app:test",
      "example.azurecr.io/groundwork/postgres:test",
      "example.azurecr.io/groundwork/exporters:test",
    ]);
    expect(references.slice(0, 3)).toEqual([
      "digest-of-image-app",
      "digest-of-image-postgres",
      "digest-of-image-exporters",
    ]);
    expect(references[3]).toMatch(/^docker\.io\/library\/nginx:.+@sha256:/);
  });

  test("are made of directories that have a Dockerfile, for what the nodes are", async () => {
    const { built } = await looked({}, []);
    expect(built.map((image) => at(image, "build.platform"))).toEqual(Array(3).fill(build.platform));
    for (const image of built) {
      expect(existsSync(join(String(at(image, "build.context")), "package.json")), image.name).toBe(
        image.name === "image-app",
      );
      expect(existsSync(String(at(image, "build.dockerfile"))), image.name).toBe(true);
    }
  });

  test("are only those that are not given", async () => {
    const given = `registry.example.com/app${digest}`;
    const { references, built } = await looked({ app: given }, ["app"]);
    expect(references).toEqual([given]);
    expect(built.map(({ name }) => name)).toEqual(["image-postgres", "image-exporters"]);
  });
});

describe("the configuration", () => {
  const problems = (build: unknown) =>
    readConfig(
      { "groundwork:environment": "production", "groundwork:build": JSON.stringify(build) },
      new Set(),
    ).problems.filter((problem) => /groundwork:(images|build)/.test(problem));

  test("needs no reference of an image that is built", () => {
    expect(problems(build)).toEqual([]);
    expect(problems(undefined).join("\n")).toMatch(/images\.app: missing.*groundwork:build/);
  });

  test("refuses a repository without a registry, and a platform that no node is", () => {
    const [repository = "", platform = ""] = problems({
      repository: "groundwork",
      platform: "windows/amd64",
    });
    expect(repository).toMatch(
      /build\.repository: must be a registry and a path in it.*\(found "groundwork"\)/,
    );
    expect(platform).toMatch(/build\.platform: must be linux\/amd64 or linux\/arm64/);
  });
});
