import { describe, expect, test } from "vitest";
import { moved } from "../../local/manifests/dryRun.ts";
import { explanations } from "../../local/manifests/explanations.ts";
import { findingsIn, weigh } from "../../local/manifests/score.ts";

describe("kube-score's report", () => {
  const check = (id: string, grade: number, skipped = false) => ({
    check: { id },
    grade,
    skipped,
    comments: [{ path: "web", summary: "because" }],
  });
  const findings = findingsIn(
    JSON.stringify([
      {
        object_name: "Deployment/apps/v1/app/web",
        checks: [check("a", 1), check("b", 5), check("c", 10), check("d", 1, true)],
      },
      { object_name: "Service/v1/app/web", checks: [check("a", 1)] },
      { object_name: "Namespace/v1/app", checks: null },
    ]),
  );

  test("is read down to what is not good", () => {
    expect(findings.map(({ object, check: id, critical }) => [object, id, critical])).toEqual([
      ["Deployment/app/web", "a", true],
      ["Deployment/app/web", "b", false],
      ["Service/app/web", "a", true],
    ]);
  });

  test("leaves open what is critical and not explained, and knows an explanation that explains nothing", () => {
    const reason = "why";
    expect(weigh(findings, []).open.map(({ object }) => object)).toEqual([
      "Deployment/app/web",
      "Service/app/web",
    ]);
    expect(weigh(findings, [{ check: "a", objects: "all", reason }])).toEqual({ open: [], stale: [] });
    const one = weigh(findings, [{ check: "a", objects: ["Service/app/web", "Service/app/gone"], reason }]);
    expect(one.open.map(({ object }) => object)).toEqual(["Deployment/app/web"]);
    expect(one.stale).toEqual(["a of Service/app/gone"]);
    // A warning needs no explanation, and so must not have one.
    expect(weigh(findings, [{ check: "b", objects: "all", reason }]).stale).toEqual(["b"]);
  });

  test("is explained with a reason for each", () => {
    for (const { reason } of explanations) expect(reason.length).toBeGreaterThan(60);
    expect(new Set(explanations.map(({ check: id }) => id)).size).toBe(explanations.length);
  });
});

test("an object is moved to other namespaces wherever it names one, and its node ports are left out", () => {
  const object = {
    apiVersion: "v1",
    kind: "RoleBinding",
    metadata: { name: "app", namespace: "app" },
    subjects: [{ name: "app", namespace: "data" }, { namespace: "kube-system" }],
    ports: [{ port: 1, nodePort: 30000 }],
  };
  const names = new Map([
    ["app", "x-app"],
    ["data", "x-data"],
  ]);
  expect(moved(object, names)).toEqual({
    ...object,
    metadata: { name: "app", namespace: "x-app" },
    subjects: [{ name: "app", namespace: "x-data" }, { namespace: "kube-system" }],
    ports: [{ port: 1 }],
  });
  expect(moved({ apiVersion: "v1", kind: "Namespace", metadata: { name: "app" } }, names).metadata.name).toBe(
    "x-app",
  );
});
