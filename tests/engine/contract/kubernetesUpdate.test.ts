import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { operations, succeeded, TestProject } from "../support.ts";
import { core, createNamespace, edit, removeNamespace } from "./cluster.ts";
import { configMap, deployment, mutable, program } from "./programs.ts";

let namespace: string;
let project: TestProject;

beforeAll(async () => {
  namespace = await createNamespace();
  project = await TestProject.create("contract-update");
});

afterAll(async () => {
  await project.dispose();
  await removeNamespace(namespace);
});

const secret = (value: string): string =>
  `new k8s.core.v1.Secret("secret", { metadata: { name: "secret", namespace }, stringData: { value: "${value}" } }, options);\n`;
const readConfig = async (name: string): Promise<Record<string, string> | undefined> =>
  (await core.readNamespacedConfigMap({ namespace, name })).data;

describe("changing Kubernetes objects", () => {
  it("replaces ConfigMaps and Secrets whose data changes, the old one first, unless told that they are mutable", async () => {
    await project.program(program(namespace, configMap("config", { value: "1" }) + secret("1")));
    succeeded(await project.up());
    await project.program(program(namespace, configMap("config", { value: "2" }) + secret("2")));
    const replaced = await project.up();
    for (const name of ["config", "secret"]) {
      expect(operations(replaced, name)).toEqual(["delete-replaced", "replace", "create-replacement"]);
    }
    await project.program(program(namespace, configMap("config", { value: "3" }) + secret("3"), mutable));
    const updated = await project.up();
    for (const name of ["config", "secret"]) expect(operations(updated, name)).toEqual(["update"]);
    expect(await readConfig("config")).toEqual({ value: "3" });
    await project.program(
      program(
        namespace,
        configMap("config", { value: "3" }) +
          secret("3").replace("stringData", "immutable: true, stringData"),
        mutable,
      ),
    );
    expect(operations(await project.up(), "secret")).toEqual(["update"]);
    await project.program(
      program(
        namespace,
        configMap("config", { value: "3" }) +
          secret("4").replace("stringData", "immutable: true, stringData"),
        mutable,
      ),
    );
    expect(operations(await project.up(), "secret")).toContain("replace");
  });

  it("touches only the object that changed, and takes away a field that left the program", async () => {
    const others = configMap("one", { a: "1" }) + configMap("two", { b: "1" });
    await project.program(program(namespace, configMap("changed", { a: "1", b: "1" }) + others, mutable));
    succeeded(await project.up());
    await project.program(program(namespace, configMap("changed", { a: "1" }) + others, mutable));
    const up = await project.up();
    expect(up.changes.map(({ name, op }) => [name, op])).toEqual([["changed", "update"]]);
    expect(await readConfig("changed")).toEqual({ a: "1" });
  });

  it("patches a part of another's object, and lets go of it without the object", async () => {
    const theirs = { metadata: { name: "theirs", namespace }, data: { kept: "1" } };
    await core.createNamespacedConfigMap({ namespace, body: theirs });
    const patch = (value: string): string =>
      `new k8s.core.v1.ConfigMapPatch("theirs", { metadata: { name: "theirs", namespace }, data: { ours: "${value}" } }, options);\n`;
    await project.program(program(namespace, patch("1"), mutable));
    expect(operations(await project.up(), "theirs")).toEqual(["create"]);
    await project.program(program(namespace, patch("2"), mutable));
    expect(operations(await project.up(), "theirs")).toEqual(["update"]);
    expect(await readConfig("theirs")).toEqual({ kept: "1", ours: "2" });
    await project.program(program(namespace, "", mutable));
    expect(operations(await project.up(), "theirs")).toEqual(["delete"]);
    expect(await readConfig("theirs")).toEqual({ kept: "1" });
  });

  it("replaces an object when a field changes that the server never changes", async () => {
    const labelled = deployment("fixed", "replicas: 0");
    await project.program(program(namespace, labelled, mutable));
    succeeded(await project.up());
    const relabelled = labelled.replaceAll('app: "fixed"', 'app: "fixed", tier: "web"');
    await project.program(program(namespace, relabelled, mutable));
    expect(operations(await project.up(), "fixed")).toEqual([
      "delete-replaced",
      "replace",
      "create-replacement",
    ]);
  });

  it("takes a reordered list for one change, and is settled after it", async () => {
    const withEnv = (names: string[]): string =>
      deployment("listed", "replicas: 0").replace(
        'name: "main",',
        `name: "main", env: ${JSON.stringify(names.map((name) => ({ name, value: name })))},`,
      );
    await project.program(program(namespace, withEnv(["A", "B"]), mutable));
    succeeded(await project.up());
    await project.program(program(namespace, withEnv(["B", "A"]), mutable));
    expect(operations(await project.up(), "listed")).toEqual(["update"]);
    expect((await project.up()).changes).toEqual([]);
  });

  it("brings back what was changed behind its back, once a refresh has seen it", async () => {
    await project.program(program(namespace, configMap("drifting", { value: "1" }), mutable));
    succeeded(await project.up());
    await edit({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "drifting", namespace },
      data: { value: "2" },
    });
    succeeded(await project.refresh());
    const outputs = (await project.resource("drifting")).outputs;
    expect(outputs?.["data"]).toEqual({ value: "2" });
    // Another manager owns the field now: only force takes it back.
    const conflict = await project.up();
    expect(conflict.exitCode).not.toBe(0);
    expect(conflict.text).toContain('conflict with "someone-else"');
    const forced = configMap("drifting", { value: "1" }).replace(
      "namespace }",
      'namespace, annotations: { "pulumi.com/patchForce": "true" } }',
    );
    await project.program(program(namespace, forced, mutable));
    expect(operations(await project.up(), "drifting")).toEqual(["update"]);
    expect(await readConfig("drifting")).toEqual({ value: "1" });
  });

  it("creates again what was deleted behind its back, once a refresh has seen it", async () => {
    await project.program(program(namespace, configMap("lost", { value: "1" }), mutable));
    succeeded(await project.up());
    await core.deleteNamespacedConfigMap({ namespace, name: "lost" });
    succeeded(await project.refresh());
    expect(operations(await project.up(), "lost")).toEqual(["create"]);
  });

  it("leaves ignored fields to whoever changes them", async () => {
    const ignoring = (value: string): string =>
      configMap("ignoring", { value, other: value }, 'ignoreChanges: ["data.value"]');
    await project.program(program(namespace, ignoring("1"), mutable));
    succeeded(await project.up());
    await edit({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "ignoring", namespace },
      data: { value: "theirs" },
    });
    await project.program(program(namespace, ignoring("2"), mutable));
    expect(operations(await project.up(), "ignoring")).toEqual(["update"]);
    expect(await readConfig("ignoring")).toEqual({ value: "theirs", other: "2" });
  });

  it("deletes what the program no longer has", async () => {
    await project.program(program(namespace, configMap("short-lived", { value: "1" }), mutable));
    succeeded(await project.up());
    await project.program(program(namespace, "", mutable));
    expect(operations(await project.up(), "short-lived")).toEqual(["delete"]);
    const { items } = await core.listNamespacedConfigMap({ namespace });
    expect(items.map(({ metadata }) => metadata?.name)).not.toContain("short-lived");
  });
});
