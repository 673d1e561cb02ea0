import { readFileSync } from "node:fs";
import { join } from "node:path";

import * as pulumi from "@pulumi/pulumi";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { parse } from "yaml";

import { workloads } from "../../components/flows.ts";
import { allowed, rendered } from "./allowedFlows.ts";
import { at, ofType, register, type Registered } from "./mocks.ts";

interface PodSpec {
  readonly containers: readonly Record<string, unknown>[];
  readonly securityContext?: object;
  readonly automountServiceAccountToken?: boolean;
}

interface Rules {
  readonly groups: { readonly rules: { readonly labels: { job: string }; readonly expr: string }[] }[];
}

/** What `local/` or a person adds to the committed development stack. */
const added = {
  "groundwork:images": { app: "app:1", postgres: "postgres:1", exporters: "exporters:1" },
  "groundwork:backups": { ageRecipient: `age1${"q".repeat(58)}` },
  "groundwork:tlsBundle": "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----",
  "groundwork:internalCa": "-----BEGIN CERTIFICATE-----",
  "groundwork:postgresTls": "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----",
  "groundwork:redisTls": "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----",
  "groundwork:appTls": "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----",
  "groundwork:azuriteTls": "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----",
  "groundwork:ageIdentity": `AGE-SECRET-KEY-1${"Q".repeat(58)}`,
};

const ownSecrets = [
  "tlsBundle",
  "internalCa",
  "postgresTls",
  "redisTls",
  "appTls",
  "azuriteTls",
  "ageIdentity",
];
const alertSecrets = ["slackWebhookUrl", "smtpPassword", "deadMansSwitchUrl", "remoteWriteCredential"];
const secretKeys = [...ownSecrets, ...alertSecrets].map((key) => `groundwork:${key}`);

/** The whole program with a committed stack file. */
async function stack(
  name: string,
  more: Record<string, unknown> = {},
  late?: (type: string, name: string) => boolean,
): Promise<Registered[]> {
  const file = parse(readFileSync(join(import.meta.dirname, `../../Pulumi.${name}.yaml`), "utf8")) as {
    config: Record<string, unknown>;
  };
  const settings = Object.entries({ ...file.config, ...more }).map(([key, value]): [string, string] => [
    key,
    typeof value === "string" ? value : JSON.stringify(value),
  ]);
  vi.resetModules();
  vi.stubEnv("PULUMI_CONFIG_SECRET_KEYS", JSON.stringify(secretKeys));
  return register(() => {
    pulumi.runtime.setAllConfig(Object.fromEntries(settings));
    return import("../../index.ts");
  }, late);
}

function podsOf(
  resources: readonly Registered[],
): { name: string; namespace: unknown; labels: unknown; spec: PodSpec }[] {
  return resources.flatMap((resource) => {
    const template = resource.type.endsWith(":CronJob") ? "spec.jobTemplate.spec.template" : "spec.template";
    const spec = at(resource, `${template}.spec`) as PodSpec | undefined;
    const labels = at(resource, `${template}.metadata.labels`);
    return spec ? [{ name: resource.name, namespace: at(resource, "metadata.namespace"), labels, spec }] : [];
  });
}

describe.each<["dev" | "prod", Record<string, unknown>]>([
  ["dev", added],
  ["prod", {}],
])("the %s stack", (name, more) => {
  let resources: Registered[];
  beforeAll(async () => {
    resources = await stack(name, more);
  }, 60_000);

  test("admits every pod under the restricted standard, with probes' lifetimes bounded by memory limits", () => {
    const pods = podsOf(resources);
    expect(pods.length).toBeGreaterThan(8);
    for (const { name: pod, spec } of pods) {
      expect(spec.securityContext, pod).toMatchObject({
        runAsNonRoot: true,
        seccompProfile: { type: "RuntimeDefault" },
      });
      for (const container of spec.containers) {
        expect(container, pod).toMatchObject({
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ["ALL"] },
          },
          resources: {
            requests: { cpu: expect.any(String) as string },
            limits: { memory: expect.any(String) as string },
          },
        });
      }
    }
  });

  test("lets the edge start before the app's pods are ready: nobody waits for pods of its Services", () => {
    const shares = ofType(resources, ":Service").filter(({ name: share }) => share.startsWith("app-share-"));
    expect(shares).not.toEqual([]);
    for (const share of shares)
      expect(at(share, "metadata.annotations")).toMatchObject({ "pulumi.com/skipAwait": "true" });
  });

  test("mounts an API token only where one is used", () => {
    const withToken = podsOf(resources).filter(({ spec }) => spec.automountServiceAccountToken !== false);
    expect(withToken.map(({ name: pod }) => pod).toSorted()).toEqual(["postgres", "prometheus"]);
  });

  test("names every workload in the flows, in the namespace that it runs in", () => {
    for (const { name: pod, namespace, labels } of podsOf(resources)) {
      const workload = (labels as Record<string, string>)["app.kubernetes.io/name"] ?? "";
      expect(workloads, pod).toHaveProperty(workload, namespace);
    }
  });

  test("lets through what the table of who may reach whom has, at both ends, and nothing else", () => {
    expect(rendered(resources)).toEqual(allowed[name]);
    // Those of other kinds open, too; and one that is of one direction only leaves the other as it was.
    expect(ofType(resources, "NetworkPolicy").filter(({ type }) => !type.endsWith(":NetworkPolicy"))).toEqual(
      [],
    );
    for (const policy of ofType(resources, ":NetworkPolicy"))
      expect(at(policy, "spec.policyTypes"), policy.name).toEqual(["Ingress", "Egress"]);
  });

  test("keeps every replicated workload available during evictions", () => {
    const budgets = ofType(resources, ":PodDisruptionBudget").map((budget) =>
      at(budget, "spec.selector.matchLabels"),
    );
    const replicated = resources.filter((resource) => Number(at(resource, "spec.replicas")) > 1);
    for (const workload of replicated) {
      expect(budgets, workload.name).toContainEqual(at(workload, "spec.selector.matchLabels"));
    }
    if (name === "prod") expect(replicated.length).toBeGreaterThanOrEqual(3);
  });

  test("uses the one provider that is bound to the configured context", () => {
    const providers = ofType(resources, "pulumi:providers:kubernetes");
    expect(providers).toHaveLength(1);
    expect(at(providers[0], "context")).toMatch(/^groundwork-/);
  });
});

test("runs another container in the app's place, without workers", async () => {
  const container = {
    command: ["./podinfo"],
    port: 9898,
    tls: false,
    metricsPort: 9797,
    readinessPath: "/readyz",
    migration: [],
  };
  const resources = await stack("dev", {
    ...added,
    "groundwork:images": { ...added["groundwork:images"], app: "podinfo:1" },
    "groundwork:app": { container },
    "groundwork:workers": { replicas: 0 },
  });
  const pods = new Map(podsOf(resources).map(({ name, spec }) => [name, spec.containers[0]]));
  expect(pods.get("app")).toMatchObject({
    image: "podinfo:1",
    command: ["./podinfo"],
    readinessProbe: { httpGet: { path: "/readyz", port: "http" } },
  });
  expect([...pods.keys()]).not.toContain("worker");
  expect([...pods.keys()]).not.toContain("app-migrate");
  const policy = ofType(resources, ":NetworkPolicy").find((one) => at(one, "metadata.name") === "app-flows");
  expect(JSON.stringify(at(policy, "spec.ingress"))).toContain('"port":9898');
  const scrapes = ofType(resources, ":ConfigMap").map((map) => JSON.stringify(at(map, "data")));
  expect(scrapes.filter((text) => text.includes("worker-metrics"))).toEqual([]);
}, 60_000);

describe("production", () => {
  let resources: Registered[];
  beforeAll(async () => {
    resources = await stack("prod");
  }, 60_000);

  test("runs images by digest only", () => {
    const images = podsOf(resources).flatMap(({ spec }) =>
      spec.containers.map((container) => container["image"]),
    );
    for (const image of images) expect(image).toMatch(/@sha256:[0-9a-f]{64}$/);
  });

  test("runs three database members and three app pods", () => {
    const replicas = (type: string, name: string) =>
      at(
        ofType(resources, type).find((resource) => resource.name === name),
        "spec.replicas",
      );
    expect(replicas(":StatefulSet", "postgres")).toBe(3);
    expect(replicas(":Deployment", "app")).toBe(3);
  });

  test("gives what keeps metrics, logs and traces more memory than a laptop has for it", () => {
    const memory = podsOf(resources).map(({ name: pod, spec: { containers } }) => {
      const [limit] = containers.map(
        ({ resources: asked }) => (asked as { limits: { memory: string } }).limits.memory,
      );
      return [pod, limit];
    });
    expect(Object.fromEntries(memory)).toMatchObject({
      prometheus: "1536Mi",
      loki: "1024Mi",
      jaeger: "1024Mi",
      "log-agent": "512Mi",
      "trace-gateway": "512Mi",
    });
  });

  test("misses a pod of every workload that is to have several", () => {
    const rules = ofType(resources, ":ConfigMap").find(({ name }) => name === "prometheus-rules");
    const { "pods.yaml": text = "" } = at(rules, "data") as Record<string, string>;
    const { groups } = parse(text) as Rules;
    // Jobs that are not called like their workload.
    const workload: Record<string, string> = { patroni: "postgres", "prometheus-peers": "prometheus" };
    const expected = groups.flatMap(({ rules: all }) =>
      all.map(({ labels: { job }, expr }) => [workload[job] ?? job, expr]),
    );
    const several = [...ofType(resources, ":Deployment"), ...ofType(resources, ":StatefulSet")].flatMap(
      (resource) => {
        const replicas = at(resource, "spec.replicas") as number;
        return replicas > 1 ? [[resource.name, `vector(${replicas})`]] : [];
      },
    );
    expect(several.length).toBeGreaterThan(5);
    expect(Object.fromEntries(expected)).toEqual(Object.fromEntries(several));
  });

  test("gives dumps and verifications more memory than a small database needs", () => {
    const memory = (name: string) =>
      at(
        ofType(resources, ":CronJob").find((cronJob) => cronJob.name === name),
        "spec.jobTemplate.spec.template.spec.containers.0.resources.limits.memory",
      );
    expect([memory("backup-daily"), memory("backup-verify")]).toEqual(["256Mi", "2048Mi"]);
  });

  test("collects logs and traces, with its own namespace for what sees the nodes", () => {
    expect(ofType(resources, ":DaemonSet").map(({ name }) => name)).toEqual(["node-exporter", "log-agent"]);
    expect(ofType(resources, ":Namespace").map(({ name }) => name)).toContain("node-agents");
    const denied = ofType(resources, ":NetworkPolicy").map(({ name }) => name);
    expect(denied).toEqual(expect.arrayContaining(["node-agents-default-deny", "log-agent-flows"]));
  });

  test("keeps its secrets in the vault: no Kubernetes Secret exists, and no emulator", () => {
    expect(ofType(resources, "core/v1:Secret")).toEqual([]);
    expect(ofType(resources, "keyvault:Secret").length).toBeGreaterThan(5);
    expect(resources.filter(({ name }) => name === "azurite")).toEqual([]);
  });

  test("closes vault and storage to the public", () => {
    expect(at(ofType(resources, "keyvault:Vault")[0], "properties")).toMatchObject({
      enableRbacAuthorization: true,
      enablePurgeProtection: true,
      networkAcls: { defaultAction: "Deny" },
    });
    expect(ofType(resources, "storage:StorageAccount")[0]?.inputs).toMatchObject({
      allowBlobPublicAccess: false,
      allowSharedKeyAccess: false,
      minimumTlsVersion: "TLS1_2",
    });
  });
});

test("a stack file with mistakes registers nothing and lists them", async () => {
  const registered = stack("dev", { ...added, "groundwork:images": {}, "groundwork:app": { replicas: 0 } });
  await expect(registered).rejects.toThrow(/4 mistake\(s\); nothing was changed[\s\S]*app\.replicas/);
});

describe("a stack that tells people of alerts", () => {
  const email = { smarthost: "smtp.example.com:2525", from: "alerts@example.com", to: ["you@example.com"] };
  const notifications = {
    slack: { channel: "#alerts" },
    email: { ...email, username: "alerts" },
    webhookUrl: "http://alerts.example.com:8080/hook",
    deadMansSwitch: { port: 8443 },
  };
  const secrets = {
    "groundwork:slackWebhookUrl": "https://hooks.slack.com/services/top-secret",
    "groundwork:smtpPassword": "top-secret too",
    "groundwork:deadMansSwitchUrl": "https://switch.example.com:8443/top-secret",
  };
  let resources: Registered[];
  beforeAll(async () => {
    resources = await stack("dev", { ...added, "groundwork:monitoring": { notifications }, ...secrets });
  }, 60_000);
  const named = (type: string, name: string) =>
    ofType(resources, type).find((resource) => resource.name === name);

  test("mounts the credentials of each channel, which stand nowhere in the configuration", () => {
    expect(at(named("core/v1:Secret", "alertmanager-secrets"), "stringData")).toEqual({
      "slack-webhook-url": secrets["groundwork:slackWebhookUrl"],
      "smtp-password": secrets["groundwork:smtpPassword"],
      "dead-mans-switch-url": secrets["groundwork:deadMansSwitchUrl"],
    });
    expect(JSON.stringify(ofType(resources, ":ConfigMap"))).not.toContain("top-secret");
    const files = at(named(":ConfigMap", "alertmanager"), "data") as Record<string, string>;
    const { receivers } = parse(files["alertmanager.yml"] ?? "") as { receivers: { name: string }[] };
    const people = {
      slack_configs: [{ channel: "#alerts" }],
      email_configs: [{ smarthost: "smtp.example.com:2525", auth_username: "alerts" }],
      webhook_configs: [{ url: notifications.webhookUrl, send_resolved: true }],
    };
    expect(receivers).toMatchObject([
      { name: "team", ...people },
      { name: "on-call", ...people },
      { name: "dead-mans-switch", webhook_configs: [{ send_resolved: false }] },
    ]);
  });

  test("lets Alertmanager out by the ports of its channels and by no other", async () => {
    const ports = (all: readonly Registered[]): unknown[] =>
      (
        at(
          ofType(all, ":NetworkPolicy").find(({ name }) => name === "alertmanager-flows"),
          "spec.egress",
        ) as { ports: { port: number }[]; to: { ipBlock?: object }[] }[]
      ).flatMap(({ ports: [port], to: [peer] }) => (peer?.ipBlock ? port?.port : []));
    expect(ports(resources).sort()).toEqual([2525, 443, 8080, 8443]);
    expect(ports(await stack("dev", added))).toEqual([]);
  });
});

describe("while it comes up", () => {
  /** What is asked for only when this workload is ready. */
  async function after(kind: string, name: string): Promise<string[]> {
    const late = (type: string, named: string) => type.endsWith(`:${kind}`) && named === name;
    const resources = await stack("dev", added, late);
    const [awaited] = resources.flatMap((resource, index) =>
      late(resource.type, resource.name) ? [index] : [],
    );
    expect(awaited).toBeGreaterThan(0);
    return resources
      .slice((awaited ?? 0) + 1)
      .filter(({ type }) => /:(Deployment|StatefulSet|DaemonSet|Job|CronJob)$/.test(type))
      .map(({ name: waiting }) => waiting)
      .toSorted();
  }

  test("only the workers wait for the app", async () => {
    expect(await after("Deployment", "app")).toEqual(["worker"]);
  }, 60_000);
});
