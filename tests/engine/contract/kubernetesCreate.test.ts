import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { operations, succeeded, TestProject } from "../support.ts";
import { core, create, createNamespace, removeNamespace } from "./cluster.ts";
import { configMap, deployment, program } from "./programs.ts";

let namespace: string;
let project: TestProject;

beforeAll(async () => {
  namespace = await createNamespace();
  project = await TestProject.create("contract-create");
});

afterAll(async () => {
  await project.dispose();
  await removeNamespace(namespace);
});

describe("creating Kubernetes objects", () => {
  it("plans an object whose inputs are not known yet, and creates nothing in a preview", async () => {
    const body = `const password = new random.RandomPassword("password", { length: 12, special: false });
      new k8s.core.v1.ConfigMap("later", { metadata: { name: "later", namespace }, data: { length: password.result.apply((text) => String(text.length)) } }, options);`;
    await project.program(program(namespace, body));
    const preview = await project.preview();
    expect(preview.text).toContain("4 to create");
    succeeded(preview);
    const { items } = await core.listNamespacedConfigMap({ namespace });
    expect(items.map(({ metadata }) => metadata?.name)).not.toContain("later");
  });

  it("refuses in a preview what the API server would refuse", async () => {
    const body = `new k8s.core.v1.Service("bad", { metadata: { name: "bad", namespace }, spec: { ports: [{ port: 99999 }] } }, options);`;
    await project.program(program(namespace, body));
    const preview = await project.preview();
    expect(preview.exitCode).not.toBe(0);
    expect(preview.text).toContain("spec.ports[0].port");
  });

  it("fails on an object that exists, and leaves it alone", async () => {
    const metadata = { name: "taken", namespace };
    await create({ apiVersion: "v1", kind: "ConfigMap", metadata, data: { owner: "someone" } });
    await project.program(program(namespace, configMap("taken", { owner: "pulumi" })));
    const up = await project.up();
    expect(up.exitCode).not.toBe(0);
    expect(up.text).toContain('"taken" already exists');
    const live = await core.readNamespacedConfigMap({ namespace, name: "taken" });
    expect(live.data).toEqual({ owner: "someone" });
  });

  it("names an object after its resource when the program does not, and keeps that name", async () => {
    const source = (value: string): string =>
      `exports.name = new k8s.core.v1.ConfigMap("named", { metadata: { namespace }, data: { value: "${value}" } }, options).metadata.name;`;
    await project.program(program(namespace, source("1"), { enableConfigMapMutable: true }));
    succeeded(await project.up());
    const { name } = await project.outputs();
    expect(name).toMatch(/^named-[0-9a-f]{8}$/);
    await project.program(program(namespace, source("2"), { enableConfigMapMutable: true }));
    const up = await project.up();
    expect(operations(up, "named")).toEqual(["update"]);
    expect((await project.outputs()).name).toBe(name);
  });

  it("keeps secrets out of the state, whichever field they enter by", async () => {
    const secret = "a-secret-of-the-contract";
    const body = `const secret = pulumi.secret("${secret}".split("").join(""));
      new k8s.core.v1.Secret("text", { metadata: { name: "text", namespace }, stringData: { password: secret } }, options);
      new k8s.core.v1.Secret("data", { metadata: { name: "data", namespace }, data: { password: "${Buffer.from(secret).toString("base64").slice(0, 8)}" + "${Buffer.from(secret).toString("base64").slice(8)}" } }, options);
      new k8s.core.v1.ConfigMap("config", { metadata: { name: "config", namespace }, data: { password: secret, plain: "visible" } }, options);`;
    // The program's own text must not be what is found.
    await project.program(
      program(namespace, body.replace(`"${secret}".split("").join("")`, `process.env.SECRET`)),
    );
    const up = await project.up({ SECRET: secret });
    expect(up.text).not.toContain(secret);
    expect(await project.filesWith(secret)).toEqual([]);
    expect((await project.state()).text).toContain("visible");
    const live = await core.readNamespacedSecret({ namespace, name: "text" });
    expect(live.data?.["password"]).toBe(Buffer.from(secret).toString("base64"));
  });

  it("changes nothing when run again, although the server filled in and rewrote fields", async () => {
    const body =
      deployment("settled", "replicas: 0") +
      `new k8s.core.v1.Service("service", { metadata: { name: "service", namespace }, spec: { selector: { app: "settled" }, ports: [{ port: 80 }] } }, options);
      new k8s.core.v1.Secret("secret", { metadata: { name: "secret", namespace }, stringData: { a: "b" } }, options);
      new k8s.networking.v1.NetworkPolicy("policy", { metadata: { name: "policy", namespace }, spec: { podSelector: {}, policyTypes: ["Ingress"], ingress: [] } }, options);`;
    await project.program(program(namespace, body));
    succeeded(await project.up());
    expect((await project.up()).changes).toEqual([]);
    succeeded(await project.refresh());
    expect((await project.up()).changes).toEqual([]);
  });
});
