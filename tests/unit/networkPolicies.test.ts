import * as pulumi from "@pulumi/pulumi";
import { beforeAll, describe, expect, test } from "vitest";

import { flows, workloads } from "../../components/flows.ts";
import { NetworkPolicies, rulesOf } from "../../components/networkPolicies.ts";
import { at, register, type Registered } from "./mocks.ts";

const apiServerCidrs = ["192.0.2.1/32"];

describe("the network policies", () => {
  let policies: Registered[];
  beforeAll(async () => {
    policies = await register(() => {
      const [edge, app, data, monitoring] = ["edge", "app", "data", "monitoring"].map((name) =>
        pulumi.output(name),
      ) as [pulumi.Output<string>, pulumi.Output<string>, pulumi.Output<string>, pulumi.Output<string>];
      new NetworkPolicies("policies", {
        namespaces: { edge, app, data, monitoring },
        workloads,
        flows,
        apiServerCidrs,
      });
    });
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

  test("let only the app, its migrations and workers, backups, restores and other members reach Postgres on its own port", () => {
    const ingress = rulesOf("postgres", { workloads, flows, apiServerCidrs }).ingress;
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
      "worker",
    ]);
    expect(ingress).toHaveLength(flows.filter((flow) => flow.to === "postgres").length);
  });

  test("give each flow to both ends", () => {
    for (const { from, to, port } of flows) {
      const allows = (workload: string, direction: "ingress" | "egress") =>
        JSON.stringify(rulesOf(workload, { workloads, flows, apiServerCidrs })[direction]).includes(
          `"port":${port}`,
        );
      if (from !== "internet" && from !== "keda") expect(allows(from, "egress")).toBe(true);
      if (to !== "internet" && to !== "apiServer") expect(allows(to, "ingress")).toBe(true);
    }
  });

  test("name a workload that a flow misspells", () => {
    const typo = [{ from: "ap", to: "postgres", port: 5432 }];
    expect(() => rulesOf("postgres", { workloads, flows: typo, apiServerCidrs })).toThrow(
      /unknown workload "ap"/,
    );
  });
});
