/** Which cluster a command on a deployed stack works on. */
import { basename } from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import { operatedCluster } from "../../local/cluster.ts";
import { stackVariables } from "../../local/stack.ts";
import type * as system from "../../local/system.ts";

const files: Readonly<Record<string, string>> = {
  "Pulumi.given.yaml":
    "config: { groundwork:cluster: { context: given }, groundwork:azure: { cluster: existing } }",
  "Pulumi.made.yaml": "config: { groundwork:azure: { cluster: create } }",
  "Pulumi.none.yaml": "config: {}",
};
vi.mock("../../local/system.ts", async (original) => {
  const real = await original<typeof system>();
  const readIfPresent = (path: string): Promise<string | undefined> =>
    basename(path) in files ? Promise.resolve(files[basename(path)]) : real.readIfPresent(path);
  return { ...real, readIfPresent };
});
afterEach(() => {
  vi.unstubAllEnvs();
});

describe("the context of a deployed stack", () => {
  test("is the one that its file names, whatever else the operator has", async () => {
    vi.stubEnv("CONTEXT", "another");
    vi.stubEnv("KUBECONFIG", "/kube/config");
    expect(await operatedCluster("given")).toMatchObject({ context: "given", kubeconfig: "/kube/config" });
  });

  test("is the operator's to name where the stack makes its cluster", async () => {
    vi.stubEnv("CONTEXT", "groundwork-prod");
    expect(await operatedCluster("made")).toMatchObject({ kind: "existing", context: "groundwork-prod" });
  });

  test.each([undefined, ""])("is asked for where it was not named: %j", async (context) => {
    vi.stubEnv("CONTEXT", context);
    await expect(operatedCluster("made")).rejects.toThrow(/az aks get-credentials.*CONTEXT=name/);
    await expect(operatedCluster("none")).rejects.toThrow("names no groundwork:cluster.context");
  });

  test("is part of the command that is proposed", () => {
    vi.stubEnv("CONTEXT", "groundwork-prod");
    expect(stackVariables("prod")).toBe(" STACK=prod CONTEXT=groundwork-prod");
    expect(stackVariables("dev")).toBe("");
    vi.stubEnv("CONTEXT", undefined);
    expect(stackVariables("prod")).toBe(" STACK=prod");
  });
});
