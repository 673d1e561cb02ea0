/** What every stack would make, judged by a real API server. */
import { beforeAll, describe, expect, test } from "vitest";
import { kubectlFor } from "../../local/manifests/check.ts";
import { judge, type Kubectl } from "../../local/manifests/dryRun.ts";
import { rendered, stacks, type KubernetesObject } from "../../local/manifests/rendered.ts";

/** Kinds of operators that a cluster has or not; their objects are compared by unit tests. */
const ofOperators = ["Certificate", "ClusterIssuer", "ScaledObject", "SecretProviderClass"];

let kubectl: Kubectl;
beforeAll(async () => {
  const [kubeconfig = "", context = ""] = [process.env["KUBECONFIG"], process.env["KUBE_CONTEXT"]];
  kubectl = await kubectlFor({ kubeconfig, context });
});

test.each(stacks)("the API server takes every object of %s as it is, without a warning", async (stack) => {
  const { objects } = await rendered(stack);
  const { asked, problems, unknownKinds } = await judge(objects, kubectl);
  expect(problems).toEqual([]);
  expect(ofOperators).toEqual(expect.arrayContaining([...unknownKinds]));
  expect(asked).toBe(objects.filter(({ kind }) => !unknownKinds.includes(kind)).length);
});

describe("an object that is wrong", () => {
  const namespace = (labels: Record<string, string>): KubernetesObject => ({
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: "app", labels },
  });
  const pod = { containers: [{ name: "web", image: "web:1" }] };
  const deployment = (spec: object, template: object = pod): KubernetesObject => ({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "web", namespace: "app" },
    spec: {
      selector: { matchLabels: { app: "web" } },
      template: { metadata: { labels: { app: "web" } }, spec: template },
      ...spec,
    },
  });
  const problemsOf = async (object: KubernetesObject, labels: Record<string, string> = {}): Promise<string> =>
    (await judge([namespace(labels), object], kubectl)).problems.join("\n");

  test("is told by a field that is none, a value that is none, and a selector that selects nothing", async () => {
    expect(await problemsOf(deployment({}))).toBe("");
    expect(await problemsOf(deployment({ replica: 2 }))).toMatch(/unknown field "(\S+\.)?replica"/);
    expect(await problemsOf(deployment({ replicas: "two" }))).toContain("replicas");
    expect(await problemsOf(deployment({ selector: { matchLabels: { app: "other" } } }))).toContain(
      "selector",
    );
  });

  test("is told by what the namespace's Pod Security Standard forbids", async () => {
    const restricted = { "pod-security.kubernetes.io/enforce": "restricted" };
    expect(await problemsOf(deployment({}, { ...pod, hostNetwork: true }), restricted)).toContain(
      "host namespaces",
    );
  });
});
