import { describe, expect, test } from "vitest";
import { policyRules, type Pod, type Policy } from "../../local/node/policies.ts";

const pod = (
  namespace: string,
  name: string,
  podIP: string,
  more: {
    readonly labels?: Record<string, string>;
    readonly phase?: string;
    readonly hostNetwork?: boolean;
  } = {},
): Pod => ({
  metadata: { namespace, name, labels: { app: name, ...more.labels } },
  spec: { hostNetwork: more.hostNetwork ?? false },
  status: { phase: more.phase ?? "Running", podIP },
});
const policy = (namespace: string, spec: Policy["spec"]): Policy => ({
  metadata: { namespace, name: "one" },
  spec,
});
const app = (name: string) => ({ matchLabels: { app: name } });
const namespaces = ["web", "data"].map((name) => ({
  metadata: { name, labels: { "kubernetes.io/metadata.name": name } },
}));
const pods = [
  pod("web", "api", "10.0.0.1"),
  pod("web", "shop", "10.0.0.2"),
  pod("data", "store", "10.0.0.3"),
  pod("data", "done", "10.0.0.4", { phase: "Succeeded" }),
];

/** What the rules say of new connections from one address to another. */
function allows(policies: readonly Policy[], from: string, to: string, port = 80, protocol = "tcp"): boolean {
  const rules = policyRules({ pods, namespaces, policies });
  const inChain = (chain: string) =>
    rules.filter((rule) => rule.startsWith(`-A ${chain} `)).map((rule) => rule.slice(`-A ${chain} `.length));
  const matches = (rule: string): boolean => {
    const words = rule.split(" ");
    const at = (flag: string) => (words.includes(flag) ? words[words.indexOf(flag) + 1] : undefined);
    const [low = "0", high = low] = at("--dport")?.split(":") ?? ["0", "65535"];
    const address = (wanted: string | undefined, given: string) =>
      wanted === undefined || wanted === given || wanted === "0.0.0.0/0";
    return (
      !rule.startsWith("-m conntrack") &&
      address(at("-s"), from) &&
      address(at("-d"), to) &&
      (at("-p") ?? protocol) === protocol &&
      Number(low) <= port &&
      port <= Number(high)
    );
  };
  const verdict = (chain: string): "RETURN" | "DROP" => {
    for (const rule of inChain(chain).filter(matches)) {
      const target = rule.split(" ").at(-1) ?? "";
      if (target === "RETURN" || target === "DROP") return target;
      if (verdict(target) === "DROP") return "DROP";
    }
    return "RETURN";
  };
  return verdict("GROUNDWORK-POLICY") === "RETURN";
}

describe("the node's network policies", () => {
  test("leave open whom no policy selects", () => {
    expect(allows([], "10.0.0.1", "10.0.0.3")).toBe(true);
    const deny = policy("data", { podSelector: {}, policyTypes: ["Ingress", "Egress"] });
    expect(allows([deny], "10.0.0.1", "10.0.0.2")).toBe(true);
  });

  test("close both directions of whom one selects", () => {
    const deny = policy("data", { podSelector: {}, policyTypes: ["Ingress", "Egress"] });
    expect(allows([deny], "10.0.0.1", "10.0.0.3")).toBe(false);
    expect(allows([deny], "10.0.0.3", "10.0.0.1")).toBe(false);
  });

  test("open just the peer, the port and the protocol that a rule names, in both ends' policies", () => {
    const ports = [{ protocol: "TCP", port: 5432 }];
    const closed = (namespace: string) =>
      policy(namespace, { podSelector: {}, policyTypes: ["Ingress", "Egress"] });
    const receive = policy("data", {
      podSelector: app("store"),
      ingress: [{ from: [{ namespaceSelector: namespaceOf("web"), podSelector: app("api") }], ports }],
    });
    const send = policy("web", {
      podSelector: app("api"),
      policyTypes: ["Egress"],
      egress: [{ to: [{ namespaceSelector: namespaceOf("data"), podSelector: app("store") }], ports }],
    });
    const all = [closed("web"), closed("data"), receive, send];
    expect(allows(all, "10.0.0.1", "10.0.0.3", 5432)).toBe(true);
    expect(allows(all, "10.0.0.1", "10.0.0.3", 5433)).toBe(false);
    expect(allows(all, "10.0.0.1", "10.0.0.3", 5432, "udp")).toBe(false);
    expect(allows(all, "10.0.0.2", "10.0.0.3", 5432)).toBe(false);
    expect(allows(all, "10.0.0.3", "10.0.0.1", 5432)).toBe(false);
    expect(allows([closed("web"), closed("data"), receive], "10.0.0.1", "10.0.0.3", 5432)).toBe(false);
    expect(allows([closed("web"), closed("data"), send], "10.0.0.1", "10.0.0.3", 5432)).toBe(false);
  });

  test("a peer without a namespace is one of the policy's own", () => {
    const receive = policy("web", { podSelector: app("api"), ingress: [{ from: [{ podSelector: {} }] }] });
    expect(allows([receive], "10.0.0.2", "10.0.0.1")).toBe(true);
    expect(allows([receive], "10.0.0.3", "10.0.0.1")).toBe(false);
  });

  test("blocks of addresses, ranges of ports, and rules without a peer", () => {
    const anybody = policy("web", {
      podSelector: app("api"),
      ingress: [{ from: [{ ipBlock: { cidr: "0.0.0.0/0" } }], ports: [{ port: 8000, endPort: 8010 }] }],
    });
    expect(allows([anybody], "203.0.113.7", "10.0.0.1", 8005)).toBe(true);
    expect(allows([anybody], "203.0.113.7", "10.0.0.1", 8011)).toBe(false);
    const open = policy("web", { podSelector: app("api"), ingress: [{}] });
    expect(allows([open], "203.0.113.7", "10.0.0.1", 1)).toBe(true);
  });

  test("expressions over labels", () => {
    const receive = (operator: string, values?: string[]) =>
      policy("web", {
        podSelector: app("api"),
        ingress: [
          {
            from: [
              {
                namespaceSelector: {},
                podSelector: { matchExpressions: [{ key: "app", operator, ...(values && { values }) }] },
              },
            ],
          },
        ],
      });
    const from = (rule: Policy) => ["10.0.0.2", "10.0.0.3"].map((one) => allows([rule], one, "10.0.0.1"));
    expect(from(receive("In", ["shop"]))).toEqual([true, false]);
    expect(from(receive("NotIn", ["shop"]))).toEqual([false, true]);
    expect(from(receive("Exists"))).toEqual([true, true]);
    expect(from(receive("DoesNotExist"))).toEqual([false, false]);
  });

  test("forget pods that have ended or are on the node's own network", () => {
    const deny = policy("data", { podSelector: {}, policyTypes: ["Ingress"] });
    expect(policyRules({ pods, namespaces, policies: [deny] }).join("\n")).not.toContain("10.0.0.4");
    const onNode = [pod("data", "agent", "10.0.0.9", { hostNetwork: true })];
    expect(policyRules({ pods: onNode, namespaces, policies: [deny] }).join("\n")).not.toContain("10.0.0.9");
  });

  test("say what they do not enforce instead of enforcing something else", () => {
    const rules = (spec: Policy["spec"]) => () =>
      policyRules({ pods, namespaces, policies: [policy("web", spec)] });
    const except = [{ ipBlock: { cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] } }];
    expect(rules({ podSelector: {}, ingress: [{ from: except }] })).toThrow("ipBlock.except");
    expect(rules({ podSelector: {}, ingress: [{ ports: [{ port: "http" }] }] })).toThrow("The port http");
  });
});

function namespaceOf(name: string) {
  return { matchLabels: { "kubernetes.io/metadata.name": name } };
}
