import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { operations, succeeded, TestProject } from "../support.ts";
import {
  core,
  createNamespace,
  edit,
  eventually,
  imagePullStatus,
  podOf,
  readyStatus,
  removeNamespace,
  setStatus,
} from "./cluster.ts";
import { configMap, deployment, podTemplate, program } from "./programs.ts";

let namespace: string;
let project: TestProject;

beforeAll(async () => {
  namespace = await createNamespace();
  project = await TestProject.create("contract-await");
});

afterAll(async () => {
  await project.dispose();
  await removeNamespace(namespace);
});

const job = (name: string): string => `new k8s.batch.v1.Job("${name}", {
    metadata: { name: "${name}", namespace },
    spec: { backoffLimit: 0, template: { ...(${podTemplate(name)}), spec: { ...(${podTemplate(name)}).spec, restartPolicy: "Never" } } },
  }, { ...options, customTimeouts: { create: "60s" } });\n`;

const failing = (name: string): string =>
  deployment(name, "progressDeadlineSeconds: 5", 'customTimeouts: { create: "40s", update: "40s" }');

/** Whether no process of a process group is left. */
function isEmptyGroup(group: number): boolean {
  try {
    process.kill(-group, 0);
    return false;
  } catch {
    return true;
  }
}

describe("waiting for Kubernetes objects", () => {
  it("calls a Deployment created only when its pods are ready", async () => {
    await project.program(program(namespace, deployment("web", "replicas: 1")));
    const up = project.start(["up", "--yes", "--skip-preview"]);
    const pod = await podOf(namespace, "web");
    await up.printed(/0\/1/);
    expect(up.process.exitCode).toBeNull();
    await setStatus(pod, readyStatus);
    const { changes } = succeeded(await up.done);
    expect(changes.map(({ name }) => name)).toContain("web");
  });

  it("waits for a changed Deployment until its new pods are ready", async () => {
    await project.program(program(namespace, deployment("web", "replicas: 1").replace("image:1", "image:2")));
    const up = project.start(["up", "--yes", "--skip-preview"]);
    const pod = await eventually(async () => {
      const { items } = await core.listNamespacedPod({ namespace, labelSelector: "app=web" });
      return items.find(({ spec }) => spec?.containers[0]?.image === "no.such/image:2");
    });
    expect(up.process.exitCode).toBeNull();
    await setStatus(pod, readyStatus);
    succeeded(await up.done);
  });

  it("fails with the pod's own reason, keeps the object, and finishes the work when run again", async () => {
    await project.program(program(namespace, failing("broken")));
    const up = project.start(["up", "--yes", "--skip-preview"]);
    await setStatus(await podOf(namespace, "broken"), imagePullStatus);
    const failed = await up.done;
    expect(failed.exitCode).not.toBe(0);
    expect(failed.text).toContain("ImagePullBackOff");
    expect(failed.text).toContain("no.such/image:1");
    expect((await project.resource("broken")).initErrors?.length).toBeGreaterThan(0);

    const again = project.start(["up", "--yes", "--skip-preview"]);
    await setStatus(await podOf(namespace, "broken"), readyStatus);
    const repaired = await again.done;
    succeeded(repaired);
    expect(operations(repaired, "broken")).toEqual(["update"]);
    expect((await project.resource("broken")).initErrors ?? []).toEqual([]);
  });

  it("does not wait for what says not to", async () => {
    const skipping = deployment("unawaited", "replicas: 1").replace(
      'name: "unawaited", namespace',
      'name: "unawaited", namespace, annotations: { "pulumi.com/skipAwait": "true" }',
    );
    await project.program(program(namespace, skipping));
    succeeded(await project.up());
  });

  it("waits for a Job's end, and fails with it", async () => {
    await project.program(program(namespace, job("good")));
    const good = project.start(["up", "--yes", "--skip-preview"]);
    await setStatus(await podOf(namespace, "good"), { phase: "Succeeded" });
    succeeded(await good.done);

    await project.program(program(namespace, job("bad")));
    const bad = project.start(["up", "--yes", "--skip-preview"]);
    await setStatus(await podOf(namespace, "bad"), { phase: "Failed" });
    const { exitCode, text } = await bad.done;
    expect(exitCode).not.toBe(0);
    expect(text).toContain("BackoffLimitExceeded");
  });

  it("does not wait for pods of Services that select none", async () => {
    const body = `new k8s.core.v1.Service("manual", { metadata: { name: "manual", namespace }, spec: { ports: [{ port: 80 }] } }, options);
      new k8s.core.v1.Service("headless", { metadata: { name: "headless", namespace }, spec: { clusterIP: "None", selector: { app: "nobody" }, ports: [{ port: 80 }] } }, options);`;
    await project.program(program(namespace, body));
    succeeded(await project.up());
  });

  it("stops waiting when interrupted, and goes on when run again", async () => {
    await project.program(program(namespace, deployment("interrupted", "replicas: 1")));
    const up = project.start(["up", "--yes", "--skip-preview"]);
    const pod = await podOf(namespace, "interrupted");
    await up.printed(/0\/1/);
    up.process.kill("SIGINT");
    expect((await up.done).exitCode).not.toBe(0);
    await setStatus(pod, readyStatus);
    succeeded(await project.up());
    expect((await project.up()).changes).toEqual([]);
  });

  it("leaves no process behind when the engine is killed, and takes up the object that was made", async () => {
    await project.program(program(namespace, deployment("orphaned", "replicas: 1")));
    const up = project.start(["up", "--yes", "--skip-preview"]);
    const pod = await podOf(namespace, "orphaned");
    await up.printed(/0\/1/);
    const group = up.process.pid ?? 0;
    up.process.kill("SIGKILL");
    await eventually(() => Promise.resolve(isEmptyGroup(group) || undefined));
    await setStatus(pod, readyStatus);
    // The killed run left its lock, and an operation whose end the engine does not know.
    succeeded(await project.run(["cancel", "--yes"]));
    await project.recover();
    succeeded(await project.refresh());
    expect(operations(succeeded(await project.up()), "orphaned")).toEqual([]);
    const changed = deployment("orphaned", "replicas: 1, revisionHistoryLimit: 5");
    await project.program(program(namespace, changed));
    expect(operations(succeeded(await project.up()), "orphaned")).toEqual(["update"]);
  });

  it("deletes with what belongs to it, and waits until it is gone", async () => {
    await project.program(program(namespace, configMap("held", { value: "1" })));
    succeeded(await project.up());
    const held = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "held", namespace } };
    await edit({ ...held, metadata: { ...held.metadata, finalizers: ["contract.test/hold"] } });
    const destroy = project.start(["destroy", "--yes", "--skip-preview"]);
    await eventually(async () => {
      const live = await core.readNamespacedConfigMap({ namespace, name: "held" });
      return live.metadata?.deletionTimestamp;
    });
    expect(destroy.process.exitCode).toBeNull();
    await edit({ ...held, metadata: { ...held.metadata, finalizers: null } });
    succeeded(await destroy.done);
    const { resources } = await project.state();
    expect(resources).toEqual([]);
  });
});
