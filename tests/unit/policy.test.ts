import { describe, expect, test } from "vitest";

import { exceptions, unexcused, type Exception } from "../../policy/exceptions.ts";
import type { Resource } from "../../policy/resource.ts";
import { rules, type StackFacts } from "../../policy/rules.ts";

const digest = `registry.example.com/app@sha256:${"0".repeat(64)}`;
const labels = { "app.kubernetes.io/name": "app" };

/** A copy in which the value at the path (`spec.containers.0.image`) is another one; undefined removes it. */
function withValue<T>(tree: T, path: string, value: unknown): T {
  const copy = structuredClone(tree);
  const keys = path.split(".");
  const last = keys.pop() ?? "";
  const place = keys.reduce((here, key) => (here as Record<string, object>)[key] ?? {}, copy as object);
  (place as Record<string, unknown>)[last] = value;
  return copy;
}

function resource(type: string, props: unknown, more: Partial<Resource> = {}): Resource {
  return { type, name: "it", props, protect: false, ...more };
}

const container = {
  name: "app",
  image: digest,
  env: [
    { name: "REQUIRE_CREDENTIALS", value: "true" },
    { name: "DATABASE_URL", value: "postgres://app_user@postgres/app" },
  ],
  ports: [{ containerPort: 3000 }],
  readinessProbe: { httpGet: { path: "/ready", port: 3000 } },
  livenessProbe: { httpGet: { path: "/health", port: 3000 } },
  resources: { requests: { cpu: "10m", memory: "64Mi" }, limits: { memory: "64Mi" } },
  securityContext: {
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ["ALL"] },
  },
};
const workload = {
  metadata: { namespace: "app" },
  spec: {
    replicas: 2,
    selector: { matchLabels: labels },
    persistentVolumeClaimRetentionPolicy: { whenDeleted: "Retain" },
    volumeClaimTemplates: [{}],
    template: {
      spec: {
        securityContext: { runAsNonRoot: true, runAsUser: 10001, seccompProfile: { type: "RuntimeDefault" } },
        containers: [container],
        volumes: [{ name: "tmp", emptyDir: {} }],
      },
    },
  },
};
const pod = "spec.template.spec";
const statefulSet = "kubernetes:apps/v1:StatefulSet";
const budget = resource("kubernetes:policy/v1:PodDisruptionBudget", {
  metadata: { namespace: "app" },
  spec: { maxUnavailable: 1, selector: { matchLabels: labels } },
});
const service = { metadata: { namespace: "app" }, spec: { selector: labels } };
const networkPolicy = {
  metadata: { namespace: "app" },
  spec: { podSelector: { matchLabels: labels }, policyTypes: ["Ingress"] },
};
const role = { rules: [{ apiGroups: [""], resources: ["pods"], verbs: ["get"] }] };
const account = {
  allowBlobPublicAccess: false,
  allowSharedKeyAccess: false,
  minimumTlsVersion: "TLS1_2",
  enableHttpsTrafficOnly: true,
};
const vault = {
  properties: {
    enablePurgeProtection: true,
    enableRbacAuthorization: true,
    networkAcls: { defaultAction: "Deny" },
  },
};
const production: StackFacts = { production: true, podLogs: "/var/log/pods" };

/** For each rule the resource that passes, and the single changes that must make it fail. */
interface Case {
  readonly type: string;
  readonly passing: object;
  readonly violations: readonly (readonly [path: string, value: unknown])[];
  readonly others?: readonly Resource[];
  /** What the violation is, when it is the other resources that are missing. */
  readonly alone?: true;
  readonly protect?: boolean;
}

const cases: Record<string, Case> = {
  "container-resources": {
    type: statefulSet,
    passing: workload,
    violations: [
      [`${pod}.containers.0.resources.limits.memory`, undefined],
      [`${pod}.containers.0.resources.requests.cpu`, undefined],
    ],
  },
  "container-probes": {
    type: statefulSet,
    passing: workload,
    violations: [
      [`${pod}.containers.0.readinessProbe`, undefined],
      [`${pod}.containers.0.livenessProbe`, undefined],
    ],
  },
  "non-root": {
    type: statefulSet,
    passing: workload,
    violations: [
      [`${pod}.securityContext.runAsNonRoot`, undefined],
      [`${pod}.securityContext.runAsUser`, 0],
      [`${pod}.containers.0.securityContext.allowPrivilegeEscalation`, true],
      [`${pod}.containers.0.securityContext.privileged`, true],
      [`${pod}.containers.0.securityContext.runAsNonRoot`, false],
    ],
  },
  "read-only-root": {
    type: statefulSet,
    passing: workload,
    violations: [[`${pod}.containers.0.securityContext.readOnlyRootFilesystem`, false]],
  },
  "dropped-capabilities": {
    type: statefulSet,
    passing: workload,
    violations: [
      [`${pod}.containers.0.securityContext.capabilities.drop`, ["NET_RAW"]],
      [`${pod}.containers.0.securityContext.capabilities.add`, ["SYS_ADMIN"]],
      [`${pod}.securityContext.seccompProfile`, { type: "Unconfined" }],
    ],
  },
  "immutable-image": {
    type: statefulSet,
    passing: workload,
    violations: [
      [`${pod}.containers.0.image`, "app:1.2.3"],
      [`${pod}.containers.0.image`, "app"],
      [`${pod}.initContainers`, [{ name: "init", image: "busybox:latest" }]],
    ],
  },
  "no-host-access": {
    type: statefulSet,
    passing: workload,
    violations: [
      [`${pod}.hostNetwork`, true],
      [`${pod}.hostPID`, true],
      [`${pod}.volumes.0`, { name: "root", hostPath: { path: "/" } }],
      [`${pod}.containers.0.ports.0`, { containerPort: 80, hostPort: 80 }],
    ],
  },
  "no-wildcard-roles": {
    type: "kubernetes:rbac.authorization.k8s.io/v1:Role",
    passing: role,
    violations: [
      ["rules.0.verbs", ["*"]],
      ["rules.0.resources", ["*"]],
      ["rules.0.apiGroups", ["*"]],
    ],
  },
  "credentials-required": {
    type: statefulSet,
    passing: workload,
    violations: [
      [`${pod}.containers.0.env.0.value`, "false"],
      [`${pod}.containers.0.env.0`, { name: "FIELD_KEYS_FILE", value: "/keys.json" }],
      [`${pod}.containers`, [{ name: "worker", env: [{ name: "REDIS_QUEUE_URL", value: "rediss://x" }] }]],
    ],
  },
  "judged-kinds": {
    type: "kubernetes:keda.sh/v1alpha1:ScaledJob",
    passing: { spec: { maxReplicaCount: 3 } },
    violations: [["spec.jobTargetRef", workload.spec]],
  },
  "disruption-budget": {
    type: statefulSet,
    passing: workload,
    violations: [["metadata.namespace", "data"]],
    others: [budget],
    alone: true,
  },
  "network-policy": {
    type: "kubernetes:core/v1:Service",
    passing: service,
    violations: [["metadata.namespace", "data"]],
    others: [resource("kubernetes:networking.k8s.io/v1:NetworkPolicy", networkPolicy)],
    alone: true,
  },
  "data-is-kept": {
    type: statefulSet,
    passing: workload,
    violations: [["spec.persistentVolumeClaimRetentionPolicy.whenDeleted", "Delete"]],
  },
  "no-public-storage": {
    type: "azure-native:storage:StorageAccount",
    passing: account,
    violations: [
      ["allowBlobPublicAccess", true],
      ["allowSharedKeyAccess", undefined],
    ],
  },
  "vault-protection": {
    type: "azure-native:keyvault/v20230701:Vault",
    passing: vault,
    violations: [
      ["properties.enablePurgeProtection", undefined],
      ["properties.enableRbacAuthorization", false],
      ["properties.networkAcls.defaultAction", "Allow"],
    ],
  },
  "tls-minimum": {
    type: "azure-native:storage:StorageAccount",
    passing: account,
    violations: [
      ["minimumTlsVersion", "TLS1_0"],
      ["enableHttpsTrafficOnly", false],
    ],
  },
  "stateful-is-protected": {
    type: "azure-native:keyvault:Vault",
    passing: vault,
    violations: [],
    protect: true,
  },
};

test("every rule has a case here, and no case is without a rule", () => {
  expect(rules.map(({ name }) => name).sort()).toEqual(Object.keys(cases).sort());
});

describe.each(rules.map((rule) => [rule.name, rule] as const))("the rule %s", (name, rule) => {
  const {
    type,
    passing,
    violations,
    others = [],
    alone,
    protect = false,
  } = cases[name] ?? {
    type: "",
    passing: {},
    violations: [],
  };
  const check = (props: object, all: readonly Resource[] = others, guarded = protect) =>
    rule.check(resource(type, props, { protect: guarded }), production, all);

  test("lets a resource pass that keeps it", () => {
    expect(check(passing)).toEqual([]);
  });

  test("refuses each way of breaking it, and says what is wanted", () => {
    const complaints = violations.map(([path, value]) => check(withValue(passing, path, value)));
    for (const [index, complaint] of complaints.entries()) {
      expect(complaint.join(), violations[index]?.[0]).not.toBe("");
    }
    if (alone) expect(check(passing, [])).not.toEqual([]);
    if (protect) expect(check(passing, others, false)).not.toEqual([]);
    expect(violations.length + Number(alone ?? false) + Number(protect)).toBeGreaterThan(0);
  });

  test("says nothing about what it is not for", () => {
    expect(
      rule.check(resource("random:index/randomPassword:RandomPassword", { length: 32 }), production, []),
    ).toEqual([]);
  });
});

test("a cluster-admin binding is refused", () => {
  const binding = resource("kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding", {
    roleRef: { name: "cluster-admin" },
  });
  expect(rules.flatMap((rule) => rule.check(binding, production, []))).toEqual([
    "must not bind cluster-admin",
  ]);
});

const expressions = [{ key: "tier", operator: "In", values: ["web"] }];

test.each<[what: string, change: { metadata?: object; selector?: object } & Record<string, unknown>]>([
  ["of another namespace", { metadata: { namespace: "data" } }],
  ["by expressions, which may select none of its pods", { selector: { matchExpressions: expressions } }],
  ["that lets no pod go", { maxUnavailable: 0 }],
  ["that lets no share of the pods go", { maxUnavailable: "0%" }],
  ["that needs every pod", { maxUnavailable: undefined, minAvailable: 2 }],
  ["that needs a share of the pods which is all of them", { maxUnavailable: undefined, minAvailable: "51%" }],
])("a budget %s is none", (_, { metadata, ...spec }) => {
  const rule = rules.find(({ name }) => name === "disruption-budget");
  const usual = budget.props as { metadata: object; spec: { selector: object } };
  const selector = { ...usual.spec.selector, ...spec.selector };
  const other = { metadata: metadata ?? usual.metadata, spec: { ...usual.spec, ...spec, selector } };
  const all = [resource(budget.type, other)];
  expect(rule?.check(resource(statefulSet, workload), production, all)).toHaveLength(1);
});

test.each([{ maxUnavailable: "1%" }, { minAvailable: 1 }, { minAvailable: "50%" }])(
  "a budget of %j lets one of two pods go",
  (spec) => {
    const rule = rules.find(({ name }) => name === "disruption-budget");
    const other = { metadata: workload.metadata, spec: { ...spec, selector: { matchLabels: labels } } };
    const all = [resource(budget.type, other)];
    expect(rule?.check(resource(statefulSet, workload), production, all)).toEqual([]);
  },
);

test("a network policy by expressions may select none of a Service's pods", () => {
  const rule = rules.find(({ name }) => name === "network-policy");
  const one = resource("kubernetes:core/v1:Service", service);
  const type = "kubernetes:networking.k8s.io/v1:NetworkPolicy";
  const covers = (podSelector: object) =>
    rule?.check(one, production, [resource(type, withValue(networkPolicy, "spec.podSelector", podSelector))]);
  expect(covers({})).toEqual([]);
  expect(covers({ matchExpressions: [] })).toEqual([]);
  expect(covers({ matchExpressions: expressions })).toHaveLength(1);
  expect(covers({ matchLabels: labels, matchExpressions: expressions })).toHaveLength(1);
});

const asTemplate = { template: workload.spec.template };
test.each([
  ["apps/v1:DeploymentPatch", { spec: { template: { spec: { hostNetwork: true } } } }],
  ["networking.k8s.io/v1:NetworkPolicyPatch", { spec: { podSelector: {} } }],
  ["apps/v1:DeploymentList", { items: [workload] }],
  ["rbac.authorization.k8s.io/v1:RoleList", { items: [role] }],
  ["core/v1:ReplicationController", { spec: asTemplate }],
  ["core/v1:PodTemplate", asTemplate],
  ["helm.sh/v3:Release", { chart: "nginx" }],
])("a %s is refused, as no rule could judge it", (kind, props) => {
  const rule = rules.find(({ name }) => name === "judged-kinds");
  expect(rule?.check(resource(`kubernetes:${kind}`, props), production, [])).toHaveLength(1);
});

test.each([
  ["a claim that grows", "core/v1:PersistentVolumeClaimPatch", { spec: { resources: {} } }],
  ["a Pod", "core/v1:Pod", workload.spec.template],
  ["a CronJob", "batch/v1:CronJob", { spec: { jobTemplate: { spec: asTemplate } } }],
  ["a list of another provider's", "", {}],
])("%s is of a kind that is judged", (_, kind, props) => {
  const rule = rules.find(({ name }) => name === "judged-kinds");
  const type = kind === "" ? "azure-native:network:IpAllowList" : `kubernetes:${kind}`;
  expect(rule?.check(resource(type, props), production, [])).toEqual([]);
});

test.each([
  ["a migration, which uses but some of them", "kubernetes:batch/v1:Job", "DATABASE_URL"],
  ["what is not of the app's image", statefulSet, "POSTGRES_URL"],
])("credentials are not demanded of %s", (_, type, variable) => {
  const rule = rules.find(({ name }) => name === "credentials-required");
  const other = withValue(workload, `${pod}.containers.0.env`, [{ name: variable, value: "x" }]);
  expect(rule?.check(resource(type, other), production, [])).toEqual([]);
});

test("development may run images by tag, but not by latest", () => {
  const rule = rules.find(({ name }) => name === "immutable-image");
  const complaints = (image: string) =>
    rule?.check(
      resource(statefulSet, withValue(workload, `${pod}.containers.0.image`, image)),
      { ...production, production: false },
      [],
    );
  expect(complaints("app:1.2.3")).toEqual([]);
  expect(complaints("app:latest")).toHaveLength(1);
});

describe("the exceptions", () => {
  test.each(exceptions)("$resource from $rule: has a rule, a reason and a last day", (exception) => {
    expect(rules.map(({ name }) => name)).toContain(exception.rule);
    expect(exception.reason.length).toBeGreaterThan(40);
    expect(new Date(`${exception.until}T00:00:00Z`).toISOString().slice(0, 10)).toBe(exception.until);
  });

  describe("let nothing but the log agent near its node, and it only to read the pods' logs", () => {
    const agent = withValue(workload, pod, {
      containers: [{ ...container, volumeMounts: [{ name: "logs", mountPath: "/logs", readOnly: true }] }],
      volumes: [{ name: "logs", hostPath: { path: "/var/log/pods" } }],
    });
    const left = (props: object, more: Partial<Resource> = {}, podLogs = production.podLogs) => {
      const one = resource("kubernetes:apps/v1:DaemonSet", props, { name: "log-agent", ...more });
      const stack = { ...production, podLogs };
      const complaints = rules.find(({ name }) => name === "no-host-access")?.check(one, stack, []) ?? [];
      return unexcused(exceptions, "no-host-access", one, stack, complaints, new Date("2026-12-01"));
    };
    const logs = `${pod}.volumes.0.hostPath.path`;

    test("where its stack says that they are", () => {
      expect(left(agent)).toEqual([]);
      expect(left(withValue(agent, logs, "/srv/pod-logs"), {}, "/srv/pod-logs")).toEqual([]);
      expect(left(agent, {}, "/srv/pod-logs")).toEqual(["must not read /var/log/pods of the host"]);
    });

    test.each([
      ["hostNetwork must not be true", `${pod}.hostNetwork`, true],
      ["hostPID must not be true", `${pod}.hostPID`, true],
      ["must not read / of the host", logs, "/"],
      ["must not write to /var/log/pods of the host", `${pod}.containers.0.volumeMounts.0.readOnly`, false],
      [
        "must not write to /var/log/pods of the host",
        `${pod}.initContainers`,
        [{ name: "init", volumeMounts: [{ name: "logs", mountPath: "/logs" }] }],
      ],
    ])("%s", (complaint, path, value) => {
      expect(left(withValue(agent, path, value))).toEqual([complaint]);
    });

    test("and nothing else of its name", () => {
      expect(left(agent, { type: statefulSet })).toHaveLength(1);
      expect(left(agent, { name: "agent" })).toHaveLength(1);
    });
  });
});

describe("an exception", () => {
  const agent = { type: "kubernetes:apps/v1:DaemonSet", name: "agent" };
  const list: Exception[] = [
    {
      ...{ rule: "no-host-access", type: agent.type, resource: agent.name, reason: "reads the node's logs" },
      excused: () => ["reads"],
      until: "2026-06-30",
    },
  ];
  const left = (rule: string, one: typeof agent, today: string) =>
    unexcused(list, rule, one, production, ["reads", "writes"], new Date(today));

  test("holds for its rule and resource until the end of its last day", () => {
    expect(left("no-host-access", agent, "2026-06-30T23:59:59Z")).toEqual(["writes"]);
    expect(left("no-host-access", agent, "2026-07-01T00:00:00Z")).toEqual(["reads", "writes"]);
  });

  test("holds for nothing else", () => {
    const all = ["reads", "writes"];
    expect(left("non-root", agent, "2026-01-01")).toEqual(all);
    expect(left("no-host-access", { ...agent, name: "app" }, "2026-01-01")).toEqual(all);
    expect(left("no-host-access", { ...agent, type: statefulSet }, "2026-01-01")).toEqual(all);
  });
});
