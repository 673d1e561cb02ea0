/** The policy pack through the real engine: what the stacks must keep, and that a violation stops a preview. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { join } from "node:path";
import { internalCertificates } from "../../local/internalCertificates.ts";
import { policyArguments, repository } from "../../local/stack.ts";
import { succeeded, TestProject } from "./support.ts";

const context = process.env["KUBE_CONTEXT"] ?? "";
const policy = join(repository, "policy");
const underPolicy = ["preview", "--policy-pack", policy];

test.each(["dev", "prod"])("the %s stack breaks no rule of the policy pack", async (stack) => {
  const settings = {
    "groundwork:cluster": { context },
    ...(stack === "dev" && {
      "groundwork:images": { app: "app:1", postgres: "postgres:1", exporters: "exporters:1" },
      // Beside a dev stack that is running.
      "groundwork:edge": { service: { type: "NodePort", httpsPort: 31443, httpPort: 31080 } },
      "groundwork:backups": { ageRecipient: `age1${"q".repeat(58)}` },
    }),
  };
  const project = await TestProject.ofRepository(stack, settings);
  try {
    if (stack === "dev") {
      await project.secret(
        "groundwork:tlsBundle",
        "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----",
      );
      for (const [key, value] of Object.entries(await internalCertificates()))
        await project.secret(key, value);
      await project.secret("groundwork:ageIdentity", `AGE-SECRET-KEY-1${"Q".repeat(58)}`);
    }
    const run = succeeded(await project.run(["preview", ...(await policyArguments(stack))]));
    expect(run.text).toMatch(/✅ groundwork@v\S+ \(local: /);
  } finally {
    await project.dispose();
  }
});

describe("a stack that breaks rules", () => {
  let project: TestProject;
  beforeAll(async () => {
    project = await TestProject.create("violations");
    await project.program(`
      const k8s = require("@pulumi/kubernetes");
      const labels = { app: "web" };
      const spec = { replicas: 2, selector: { matchLabels: labels }, template: {
        metadata: { labels }, spec: { hostNetwork: true, containers: [{ name: "web", image: "nginx:latest" }] } } };
      new k8s.apps.v1.Deployment("web", { spec });
      new k8s.core.v1.Service("web", { metadata: { namespace: "default" }, spec: { selector: labels, ports: [{ port: 80 }] } });
    `);
  });
  afterAll(async () => {
    await project.dispose();
  });

  test("is stopped before anything is made, with every broken rule named", async () => {
    const run = await project.run(underPolicy);
    expect(run.exitCode).not.toBe(0);
    for (const rule of [
      "container-resources",
      "container-probes",
      "non-root",
      "read-only-root",
      "dropped-capabilities",
      "immutable-image",
      "no-host-access",
      "disruption-budget",
      "network-policy",
    ]) {
      expect(run.text, rule).toContain(rule);
    }
  });
});
