/** One component in a program that is not this repository's, by the real engine. */
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { repository } from "../../local/stack.ts";
import { succeeded, TestProject } from "./support.ts";

let project: TestProject;
beforeAll(async () => {
  project = await TestProject.ofProgram(join(repository, "examples", "redis-only"), {
    "redis-only:context": process.env["KUBE_CONTEXT"] ?? "",
    "redis-only:exporterImage": "exporters:1",
  });
  await project.secret("redis-only:tls", "pem of the server");
  await project.secret("redis-only:ca", "pem of the authority");
});
afterAll(() => project.remove());

test("it is planned by itself: a Redis, and nothing of the rest of the stack", async () => {
  const { changes } = succeeded(await project.preview());
  const made = changes.filter(({ type }) => type.startsWith("kubernetes:apps/"));
  expect(made.map(({ op, type, name }) => [op, type, name])).toEqual([
    ["create", "kubernetes:apps/v1:StatefulSet", "redis-cache"],
  ]);
});
