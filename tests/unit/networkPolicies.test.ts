import * as pulumi from "@pulumi/pulumi";
import { beforeAll, describe, expect, test } from "vitest";

import { flows, workloads } from "../../components/flows.ts";
import { NetworkPolicies, rulesOf } from "../../components/networkPolicies.ts";
import { at, ofType, register, type Registered } from "./mocks.ts";

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

  test("let Prometheus reach the kubelets, and Postgres and it the API server, where Cilium enforces by policies that know which addresses are theirs", async () => {
    const kubelets = (of: readonly Registered[], kind: string) =>
      of.filter(({ type, inputs }) => type.endsWith(kind) && JSON.stringify(inputs).includes("10250"));
    expect(kubelets(policies, ":NetworkPolicy").map(({ name }) => name)).toEqual(["prometheus-flows"]);
    expect(ofType(policies, ":CiliumNetworkPolicy")).toEqual([]);
    const enforced = await policiesOn({ ...cluster, cilium: true });
    expect(kubelets(enforced, ":NetworkPolicy")).toEqual([]);
    const apiServer = {
      toEntities: ["kube-apiserver"],
      toPorts: [
        {
          ports: [
            { port: "443", protocol: "TCP" },
            { port: "6443", protocol: "TCP" },
          ],
        },
      ],
    };
    const ofCilium = (workload: string, namespace: string, egress: readonly object[]) => ({
      apiVersion: "cilium.io/v2",
      kind: "CiliumNetworkPolicy",
      metadata: expect.objectContaining({ name: `${workload}-cluster`, namespace }) as unknown,
      spec: { endpointSelector: { matchLabels: { "app.kubernetes.io/name": workload } }, egress },
    });
    const made = ofType(enforced, ":CiliumNetworkPolicy").map(({ inputs }) => inputs);
    expect(made).toEqual([
      ofCilium("postgres", "data", [apiServer]),
      ofCilium("prometheus", "monitoring", [
        {
          toEntities: ["host", "remote-node"],
          toPorts: [{ ports: [{ port: "10250", protocol: "TCP" }] }],
        },
        apiServer,
      ]),
    ]);
    expect(enforced).toHaveLength(policies.length + made.length);
  });

  test("name an API server outside of the cluster by its address, with Cilium too", () => {
    for (const cilium of [false, true]) {
      const { egress } = rulesOf("postgres", { workloads, flows, ...cluster, cilium });
      for (const port of [443, 6443])
        expect(egress).toContainEqual({
          to: [{ ipBlock: { cidr: "192.0.2.1/32" } }],
          ports: [{ protocol: "TCP", port }],
        });
    }
  });

  test("name a workload that a flow misspells", () => {
    const typo = [{ from: "ap", to: "postgres", port: 5432 }];
    expect(() => rulesOf("postgres", { workloads, flows: typo, ...cluster })).toThrow(
      /unknown workload "ap"/,
    );
  });
});
