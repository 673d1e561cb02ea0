import * as pulumi from "@pulumi/pulumi";
import { beforeAll, describe, expect, test } from "vitest";

import { flows, workloads } from "../../components/flows.ts";
import { NetworkPolicies, rulesOf } from "../../components/networkPolicies.ts";
import { at, register, type Registered } from "./mocks.ts";

const cluster = { apiServerCidrs: ["192.0.2.1/32"], cilium: false };

/** The policies of the stack's own namespaces. */
function policiesOn(of: typeof cluster): Promise<Registered[]> {
  return register(() => {
    const [edge, app, data, monitoring] = ["edge", "app", "data", "monitoring"].map((name) =>
      pulumi.output(name),
    ) as [pulumi.Output<string>, pulumi.Output<string>, pulumi.Output<string>, pulumi.Output<string>];
    new NetworkPolicies("policies", { namespaces: { edge, app, data, monitoring }, workloads, flows, ...of });
  });
}

describe("the network policies", () => {
  let policies: Registered[];
  beforeAll(async () => {
    policies = await policiesOn(cluster);
  });

  test("close every namespace in both directions but for name resolution", () => {
    const denials = policies.filter(({ name }) => name.endsWith("default-deny"));
    expect(denials.map((policy) => at(policy, "metadata.namespace")).sort()).toEqual([
      "app",
      "data",
      "edge",
      "monitoring",
    ]);
    for (const policy of denials) {
      expect(at(policy, "spec")).toMatchObject({ podSelector: {}, policyTypes: ["Ingress", "Egress"] });
      expect(at(policy, "spec.ingress")).toBeUndefined();
      expect(at(policy, "spec.egress.0.ports")).toEqual([
        { protocol: "UDP", port: 53 },
        { protocol: "TCP", port: 53 },
      ]);
    }
  });

  test("let only the app, its migrations and workers, backups, restores, other members and who looks at its certificate reach Postgres on its own port", () => {
    const ingress = rulesOf("postgres", { workloads, flows, ...cluster }).ingress;
    const callers = flows
      .filter((flow) => flow.to === "postgres" && flow.port === 5432)
      .map((flow) => flow.from);
    expect(callers.sort()).toEqual([
      "app",
      "app-candidate",
      "app-migrate",
      "backup",
      "backup-base",
      "backup-restore",
      "postgres",
      "prober",
      "worker",
    ]);
    expect(ingress).toHaveLength(flows.filter((flow) => flow.to === "postgres").length);
  });

  test("give each flow to both ends", () => {
    for (const { from, to, port } of flows) {
      const allows = (workload: string, direction: "ingress" | "egress") =>
        JSON.stringify(rulesOf(workload, { workloads, flows, ...cluster })[direction]).includes(
          `"port":${port}`,
        );
      if (from !== "internet" && from !== "keda") expect(allows(from, "egress")).toBe(true);
      if (!["internet", "apiServer", "nodes"].includes(to)) expect(allows(to, "ingress")).toBe(true);
    }
  });

  test("let Prometheus reach the kubelets, where Cilium enforces by a policy that knows which addresses are nodes", async () => {
    const kubelets = (of: readonly Registered[], kind: string) =>
      of.filter(({ type, inputs }) => type.endsWith(kind) && JSON.stringify(inputs).includes("10250"));
    expect(kubelets(policies, ":NetworkPolicy").map(({ name }) => name)).toEqual(["prometheus-flows"]);
    expect(kubelets(policies, ":CiliumNetworkPolicy")).toEqual([]);
    const enforced = await policiesOn({ ...cluster, cilium: true });
    expect(kubelets(enforced, ":NetworkPolicy")).toEqual([]);
    const ofCilium = enforced.filter(({ type }) => type.endsWith(":CiliumNetworkPolicy"));
    expect(ofCilium.map(({ inputs }) => inputs)).toEqual([
      {
        apiVersion: "cilium.io/v2",
        kind: "CiliumNetworkPolicy",
        metadata: expect.objectContaining({ name: "prometheus-nodes", namespace: "monitoring" }) as unknown,
        spec: {
          endpointSelector: { matchLabels: { "app.kubernetes.io/name": "prometheus" } },
          egress: [
            {
              toEntities: ["host", "remote-node"],
              toPorts: [{ ports: [{ port: "10250", protocol: "TCP" }] }],
            },
          ],
        },
      },
    ]);
    expect(enforced).toHaveLength(policies.length + 1);
  });

  test("name a workload that a flow misspells", () => {
    const typo = [{ from: "ap", to: "postgres", port: 5432 }];
    expect(() => rulesOf("postgres", { workloads, flows: typo, ...cluster })).toThrow(
      /unknown workload "ap"/,
    );
  });
});
