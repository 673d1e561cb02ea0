import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import * as pulumi from "@pulumi/pulumi";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { z } from "zod";

import { monitoringSchema } from "../../components/monitoring/schema.ts";
import { Monitoring, type MonitoringArgs } from "../../components/monitoring/monitoring.ts";
import { alertmanagerFiles, type AlertNotifications } from "../../components/monitoring/notifications.ts";
import { KubernetesSecretStore } from "../../components/secrets/kubernetesSecretStore.ts";
import { at, ofType, register, type Registered } from "./mocks.ts";
import { runTool } from "./tools.ts";

const root = join(import.meta.dirname, "..", "..");
const manifests = join(root, "k8s-manifests");
const folder = mkdtempSync(join(tmpdir(), "groundwork-monitoring-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const { resources: memory } = monitoringSchema.parse({});
const prometheus = {
  image: "prometheus:1",
  retentionDays: 15,
  storageGiB: 2,
  resources: memory,
  retainData: false,
};
const monitoring = (
  changes: (secrets: KubernetesSecretStore) => Partial<MonitoringArgs> = () => ({}),
): Promise<Registered[]> =>
  register(() => {
    const secrets = new KubernetesSecretStore("secrets");
    new Monitoring("monitoring", {
      namespace: pulumi.output("monitoring"),
      secrets,
      targets: [{ job: "app", host: "app-metrics.app.svc.cluster.local", port: 9464 }],
      blackbox: {
        image: "blackbox:1",
        edge: {
          endpoint: { host: "edge.edge.svc.cluster.local", port: 443 },
          host: "api.example.com",
          caPem: pulumi.output("the authority"),
        },
      },
      prometheus,
      alertmanager: { image: "alertmanager:1" },
      nodeExporter: { image: "exporters:1" },
      prober: {
        image: "python:1",
        password: secrets.keep("probe-password", "hidden"),
        intervalSeconds: 15,
        servers: [],
        ca: secrets.keep("internal-ca", "an authority"),
      },
      ...changes(secrets),
    });
  });
const named = (resources: readonly Registered[], type: string, name: string): Registered | undefined =>
  ofType(resources, type).find((resource) => resource.name === name);
const files = (resources: readonly Registered[], name: string): Record<string, string> =>
  at(named(resources, ":ConfigMap", name), "data") as Record<string, string>;
const command = (resources: readonly Registered[], name: string): unknown =>
  at(named(resources, ":StatefulSet", name), "spec.template.spec.containers.0.command");

/** Writes files into a new folder and returns its path. */
function written(content: Readonly<Record<string, string>>): string {
  const path = mkdtempSync(join(folder, "files-"));
  for (const [name, text] of Object.entries(content)) writeFileSync(join(path, name), text);
  return path;
}

describe("Monitoring", () => {
  let resources: Registered[];
  beforeAll(async () => {
    resources = await monitoring();
  });
  const workloads = (): Registered[] => [
    ...ofType(resources, ":StatefulSet"),
    ...ofType(resources, ":Deployment"),
    ...ofType(resources, ":DaemonSet"),
  ];

  test("leaves Grafana out when it is not asked for", async () => {
    expect(
      workloads()
        .map(({ name }) => name)
        .sort(),
    ).toEqual(["alertmanager", "blackbox", "node-exporter", "prober", "prometheus"]);
    const complete = await monitoring(() => ({ grafana: { image: "grafana:1" } }));
    expect(ofType(complete, ":Deployment").map(({ name }) => name)).toEqual([
      "blackbox",
      "prober",
      "grafana",
    ]);
  });

  test("runs every part as a restricted pod with probes, and within 512 MiB", async () => {
    resources = await monitoring(() => ({ grafana: { image: "grafana:1" } }));
    let memoryMiB = 0;
    for (const workload of workloads()) {
      const pod = at(workload, "spec.template.spec");
      expect(pod).toMatchObject({
        automountServiceAccountToken: workload.name === "prometheus",
        securityContext: { runAsNonRoot: true },
      });
      const container = at(workload, "spec.template.spec.containers.0") as Record<string, unknown>;
      expect(container["securityContext"]).toMatchObject({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"] },
      });
      for (const probe of ["startupProbe", "readinessProbe", "livenessProbe"])
        expect(container).toHaveProperty(probe);
      memoryMiB += parseInt(
        at(workload, "spec.template.spec.containers.0.resources.requests.memory") as string,
      );
    }
    expect(workloads()).toHaveLength(6);
    expect(memoryMiB).toBeLessThanOrEqual(512);
  });

  test("scrapes every pod behind each target's headless Service", () => {
    const { scrape_configs } = parse(files(resources, "prometheus")["scrape-targets.yaml"] ?? "") as {
      scrape_configs: object[];
    };
    expect(scrape_configs.slice(0, 2)).toMatchObject([
      {
        job_name: "app",
        metrics_path: "/metrics",
        dns_sd_configs: [{ names: ["app-metrics.app.svc.cluster.local"], type: "A", port: 9464 }],
      },
      {
        job_name: "alertmanager",
        dns_sd_configs: [{ names: ["alertmanager-members.monitoring.svc.cluster.local"], port: 9093 }],
      },
    ]);
    for (const name of ["prometheus-members", "alertmanager-members"]) {
      expect(at(named(resources, ":Service", name), "spec.clusterIP")).toBe("None");
    }
  });

  test("has our own client ask through the edge every 15 s, by the name and the authority that users know", () => {
    const { scrape_configs } = parse(files(resources, "prometheus")["scrape-targets.yaml"] ?? "") as {
      scrape_configs: { job_name: string }[];
    };
    const labels = (probe: string, path: string) => ({
      probe,
      __param_module: probe,
      __param_target: `https://edge.edge.svc.cluster.local:443${path}`,
    });
    const targets = ["blackbox.monitoring.svc.cluster.local:9115"];
    expect(scrape_configs.find(({ job_name }) => job_name === "probe")).toMatchObject({
      metrics_path: "/probe",
      scrape_interval: "15s",
      static_configs: [
        { targets, labels: labels("ready", "/ready") },
        { targets, labels: labels("refusal", "/api/v1/documents") },
      ],
    });
    const { "blackbox.yml": config, "ca.pem": authority } = files(resources, "blackbox");
    expect(authority).toBe("the authority");
    const { modules } = parse(config ?? "") as { modules: Record<string, unknown> };
    const tls = { server_name: "api.example.com", ca_file: "/etc/groundwork/blackbox/ca.pem" };
    const http = { fail_if_not_ssl: true, headers: { Host: "api.example.com" }, tls_config: tls };
    expect(modules).toMatchObject({
      ready: { http: { ...http, valid_status_codes: [200] } },
      refusal: { http: { ...http, valid_status_codes: [401] } },
    });
  });

  test("signs in through the edge, by a password that no configuration holds", () => {
    const pod = at(named(resources, ":Deployment", "prober"), "spec.template.spec.containers.0");
    expect(pod).toMatchObject({
      env: expect.arrayContaining([
        { name: "PROBE_ADDRESS", value: "edge.edge.svc.cluster.local:443" },
        { name: "PROBE_HOST", value: "api.example.com" },
        { name: "PROBE_CA_FILE", value: "/etc/groundwork/prober/ca.pem" },
      ]) as unknown,
    });
    expect(files(resources, "prober")).toMatchObject({ "ca.pem": "the authority" });
    expect(at(named(resources, ":Secret", "prober-secrets"), "stringData")).toEqual({
      "probe-password": "hidden",
      "internal-ca.crt": "an authority",
    });
    expect(JSON.stringify(ofType(resources, ":ConfigMap"))).not.toContain("hidden");
  });

  test("reads the nodes from pods that mount nothing of them", () => {
    const exporter = named(resources, ":DaemonSet", "node-exporter");
    expect(at(exporter, "spec.template.spec.volumes")).toBeUndefined();
    expect(files(resources, "prometheus")["scrape-targets.yaml"]).toContain("node-exporter.monitoring.svc");
  });

  test("reads the kubelets with an account that may do nothing else", () => {
    expect(at(ofType(resources, ":ClusterRole")[0], "rules")).toEqual([
      { apiGroups: [""], resources: ["nodes"], verbs: ["get", "list", "watch"] },
      { apiGroups: [""], resources: ["nodes/metrics"], verbs: ["get"] },
    ]);
  });

  test("bounds what Prometheus keeps by time, and by less than its volume", () => {
    expect(command(resources, "prometheus")).toEqual(
      expect.arrayContaining(["--storage.tsdb.retention.time=15d", "--storage.tsdb.retention.size=1638MB"]),
    );
    expect(
      at(
        named(resources, ":StatefulSet", "prometheus"),
        "spec.volumeClaimTemplates.0.spec.resources.requests.storage",
      ),
    ).toBe("2Gi");
  });

  test("sends alerts to each Alertmanager by its own name, and lets several know of each other", async () => {
    const pair = await monitoring(() => ({ replicas: 2 }));
    const members = [0, 1].map(
      (index) => `alertmanager-${index}.alertmanager-members.monitoring.svc.cluster.local`,
    );
    expect(parse(files(pair, "prometheus")["alertmanagers.yaml"] ?? "")).toEqual([
      { targets: members.map((member) => `${member}:9093`) },
    ]);
    const args = at(named(pair, ":StatefulSet", "alertmanager"), "spec.template.spec.containers.0.args");
    expect(args).toEqual(expect.arrayContaining(members.map((member) => `--cluster.peer=${member}:9094`)));
    const alone = at(
      named(resources, ":StatefulSet", "alertmanager"),
      "spec.template.spec.containers.0.args",
    );
    expect(alone).toEqual(["--cluster.listen-address="]);
  });

  test("lets no two Alertmanagers speak in the same moment, whichever evaluation each heard first", async () => {
    const three = await monitoring(() => ({ replicas: 3 }));
    const args = at(
      named(three, ":StatefulSet", "alertmanager"),
      "spec.template.spec.containers.0.args",
    ) as string[];
    const [, given] = /--cluster\.peer-timeout=(\d+)s/.exec(args.join(" ")) ?? [];
    const seconds = (text: unknown): number => Number(/^(\d+)s$/.exec(String(text))?.[1]);
    const { global } = parse(files(three, "prometheus")["prometheus.yml"] ?? "") as {
      global: { evaluation_interval: string };
    };
    const { route } = parse(files(three, "alertmanager")["alertmanager.yml"] ?? "") as {
      route: { group_wait: string; group_interval: string };
    };
    const every = seconds(global.evaluation_interval);
    // A group is looked at in step with the evaluation that began it; each further pod waits once more.
    expect(seconds(route.group_interval) % every).toBe(0);
    for (const pod of [1, 2]) expect((pod * Number(given)) % every).toBeGreaterThanOrEqual(5);
    expect(seconds(route.group_wait) + 2 * Number(given)).toBeLessThanOrEqual(60);
  });

  test("loses none of its parts with one node where there are two of each, and sees that one is missing", async () => {
    const pair = await monitoring(() => ({ replicas: 2, separateNodes: true }));
    for (const name of ["prometheus", "alertmanager"]) {
      const set = named(pair, ":StatefulSet", name);
      expect(at(set, "spec.replicas")).toBe(2);
      const rule =
        "spec.template.spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution";
      expect(at(set, rule)).toMatchObject([{ topologyKey: "kubernetes.io/hostname" }]);
      // Also while it is not ready: those that look must find that it does not answer.
      expect(at(named(pair, ":Service", `${name}-members`), "spec.publishNotReadyAddresses")).toBe(true);
    }
    expect(at(named(pair, ":Deployment", "blackbox"), "spec.replicas")).toBe(2);
    for (const name of ["prometheus", "alertmanager", "blackbox"])
      expect(at(named(pair, ":PodDisruptionBudget", name), "spec.maxUnavailable")).toBe(1);
    const jobs = (all: readonly Registered[]): unknown[] =>
      (
        parse(files(all, "prometheus")["scrape-targets.yaml"] ?? "") as {
          scrape_configs: { job_name: string }[];
        }
      ).scrape_configs.map(({ job_name }) => job_name);
    expect(jobs(pair)).toContain("prometheus-peers");
    expect(jobs(resources)).not.toContain("prometheus-peers");
  });

  test("rolls Prometheus when a target changes, and only then", async () => {
    const annotations = (all: readonly Registered[]): unknown =>
      at(named(all, ":StatefulSet", "prometheus"), "spec.template.metadata.annotations");
    expect(annotations(await monitoring())).toEqual(annotations(resources));
    const other = await monitoring(() => ({ targets: [{ job: "app", host: "elsewhere", port: 9464 }] }));
    expect(annotations(other)).not.toEqual(annotations(resources));
  });

  test("mounts the channels' credentials as files and writes none of them into the configuration", async () => {
    const notifying = await monitoring((secrets) => ({
      alertmanager: {
        image: "alertmanager:1",
        notifications: {
          slack: {
            webhookUrl: secrets.keep("slack", "https://hooks.example.com/hidden"),
            channel: "#alerts",
          },
        },
      },
    }));
    expect(at(named(notifying, ":Secret", "alertmanager-secrets"), "stringData")).toEqual({
      "slack-webhook-url": "https://hooks.example.com/hidden",
    });
    expect(JSON.stringify(ofType(notifying, ":ConfigMap"))).not.toContain("hidden");
  });

  test("writes samples to a further store with the credential from a file", async () => {
    const url = "https://metrics.example.com/api/v1/push";
    const writing = (username?: string) =>
      monitoring((secrets) => ({
        prometheus: {
          ...prometheus,
          remoteWrite: {
            url,
            credential: secrets.keep("remote-write-credential", "hidden"),
            ...(username !== undefined && { username }),
          },
        },
      }));
    const file = "/run/secrets/groundwork/remote-write-credential";
    const auths = [
      ["metrics", { basic_auth: { username: "metrics", password_file: file } }],
      [undefined, { authorization: { credentials_file: file } }],
    ] as const;
    for (const [username, auth] of auths) {
      const all = await writing(username);
      const config = files(all, "prometheus")["prometheus.yml"] ?? "";
      expect(parse(config)).toMatchObject({ rule_files: ["rules/*.yaml"], remote_write: [{ url, ...auth }] });
      expect(at(named(all, ":Secret", "prometheus-secrets"), "stringData")).toEqual({
        "remote-write-credential": "hidden",
      });
      expect(JSON.stringify(ofType(all, ":ConfigMap"))).not.toContain("hidden");
      expect(
        at(named(all, ":StatefulSet", "prometheus"), "spec.template.spec.containers.0.volumeMounts"),
      ).toContainEqual({ name: "secrets", mountPath: "/run/secrets/groundwork", readOnly: true });
      const path = written({ "prometheus.yml": config });
      const { passed, output } = runTool("promtool", [
        ...["check", "config", "--syntax-only", join(path, "prometheus.yml")],
      ]);
      expect(passed, output).toBe(true);
    }
    expect(files(resources, "prometheus")["prometheus.yml"]).not.toContain("remote_write");
  });

  test("gives Grafana its password as a file, and lets nobody in without one", () => {
    expect(at(named(resources, ":Secret", "grafana-secrets"), "stringData")).toHaveProperty("admin-password");
    expect(files(resources, "grafana")["grafana.ini"]).toMatch(
      /admin_password = \$__file\{\/run\/secrets\/groundwork\/admin-password\}[\s\S]*\[auth\.anonymous\]\nenabled = false/,
    );
    const paths = at(
      named(resources, ":Deployment", "grafana"),
      "spec.template.spec.volumes.1.configMap.items",
    );
    expect(paths).toEqual(
      expect.arrayContaining([
        { key: "datasources.yaml", path: "provisioning/datasources/datasources.yaml" },
        { key: "dashboards.yaml", path: "provisioning/dashboards/dashboards.yaml" },
        { key: "application-overview.json", path: "dashboards/application-overview.json" },
      ]),
    );
  });

  test("renders what promtool accepts, with rules and targets in place", () => {
    const account = written({ token: "a token", "ca.crt": "" });
    const path = written(files(resources, "prometheus"));
    const targets = readFileSync(join(path, "scrape-targets.yaml"), "utf8");
    writeFileSync(
      join(path, "scrape-targets.yaml"),
      targets.replaceAll("/var/run/secrets/kubernetes.io/serviceaccount", account),
    );
    mkdirSync(join(path, "rules"));
    for (const [name, text] of Object.entries(files(resources, "prometheus-rules")))
      writeFileSync(join(path, "rules", name), text);
    const { passed, output } = runTool("promtool", ["check", "config", join(path, "prometheus.yml")]);
    // And what the stack writes beside them: pods.yaml.
    expect(output).toContain(`${yamlFiles("prometheus/rules").length + 1} rule files found`);
    expect(passed, output).toBe(true);
  });
});

describe("notifications", () => {
  const stored = (name: string) => ({ name });
  const all: AlertNotifications = {
    slack: { webhookUrl: stored("slack"), channel: "#alerts" },
    email: {
      smarthost: "smtp.example.com:587",
      from: "alerts@example.com",
      to: ["a@example.com", "b@example.com"],
      credentials: { username: "alerts", password: stored("smtp") },
    },
    deadMansSwitch: { url: stored("switch") },
  };
  test.each([
    ["none", {}],
    ["all", all],
    ["e-mail without sign-in", { email: { ...all.email, credentials: undefined } }],
  ] as [string, AlertNotifications][])(
    "make a configuration that amtool accepts, with %s of the channels",
    (_, notifications) => {
      const path = written(alertmanagerFiles(notifications, "/run/secrets/groundwork"));
      const { passed, output } = runTool("amtool", ["check-config", join(path, "alertmanager.yml")]);
      expect(passed, output).toBe(true);
      expect(output).toContain("3 receivers");
    },
  );

  test.each([
    { receiver: "on-call", labels: ["severity=critical"] },
    { receiver: "team", labels: ["severity=warning"] },
    { receiver: "on-call", labels: ["alertname=HealthFailing", "severity=critical", "signal=health"] },
    { receiver: "team", labels: ["alertname=HighErrorRate", "severity=warning", "signal=errors"] },
    { receiver: "dead-mans-switch", labels: ["alertname=Watchdog", "severity=none"] },
  ])("go to $receiver for $labels", ({ receiver, labels }) => {
    const path = written(alertmanagerFiles(all, "/run/secrets/groundwork"));
    const config = `--config.file=${join(path, "alertmanager.yml")}`;
    const test = ["config", "routes", "test", config, `--verify.receivers=${receiver}`, ...labels];
    const { passed, output } = runTool("amtool", test);
    expect(passed, output).toBe(true);
  });

  test("reach Slack and e-mail with credentials from files", () => {
    const config = alertmanagerFiles(all, "/secrets")["alertmanager.yml"] ?? "";
    const { receivers } = parse(config) as { receivers: { name: string }[] };
    expect(receivers).toMatchObject([
      {
        name: "team",
        slack_configs: [{ api_url_file: "/secrets/slack-webhook-url" }],
        email_configs: [{ require_tls: true }],
      },
      {
        name: "on-call",
        slack_configs: [{ channel: "#alerts" }],
        email_configs: [{ auth_password_file: "/secrets/smtp-password" }],
      },
      { name: "dead-mans-switch", webhook_configs: [{ url_file: "/secrets/dead-mans-switch-url" }] },
    ]);
  });

  test.each([
    { smarthost: "smtp.example.com:587", startTls: true },
    { smarthost: "smtp.example.com:25", startTls: true },
    { smarthost: "smtp.example.com:465", startTls: false },
  ])("ask $smarthost for STARTTLS: $startTls", ({ smarthost, startTls }) => {
    const email = { smarthost, from: "alerts@example.com", to: ["a@example.com"] };
    const config = parse(alertmanagerFiles({ email }, "/secrets")["alertmanager.yml"] ?? "") as object;
    expect(config).toMatchObject({
      receivers: [{ email_configs: [{ smarthost, require_tls: startTls }] }, {}, {}],
    });
  });

  test("tell of a group that is over in part what goes on, and apart from it what does not", () => {
    const one = (status: string, summary: string) => ({
      status,
      annotations: { summary, description: `${summary} since.`, runbook_url: `docs/runbooks/${summary}.md` },
      startsAt: "2026-01-02T03:04:05Z",
      endsAt: status === "resolved" ? "2026-01-02T04:00:00Z" : "0001-01-01T00:00:00Z",
    });
    const data = join(folder, "alerts.json");
    writeFileSync(data, JSON.stringify({ alerts: [one("resolved", "Lost"), one("firing", "Down")] }));
    const templates = `--template.glob=${join(manifests, "alertmanager", "*.tmpl")}`;
    const text = '--template.text={{ template "groundwork.text" . }}';
    const { passed, output } = runTool("amtool", [
      ...["template", "render", templates, text],
      `--template.data=${data}`,
    ]);
    expect(passed, output).toBe(true);
    expect(output.split("\n").filter(Boolean)).toEqual([
      "Down",
      "Down since.",
      "What to do: docs/runbooks/Down.md",
      "Since: 2026-01-02 03:04:05 UTC",
      "OVER: Lost",
      "From 2026-01-02 03:04:05 UTC to 2026-01-02 04:00:00 UTC",
    ]);
  });

  test("are refused with a clear message when an address cannot be one", () => {
    const wrong: [AlertNotifications, string][] = [
      [{ slack: { webhookUrl: stored("s"), channel: "alerts {{ . }}" } }, "slack.channel"],
      [{ email: { smarthost: "smtp.example.com", from: "a@b", to: ["a@b"] } }, "email.smarthost"],
      [{ email: { smarthost: "smtp.example.com:25", from: "nobody", to: ["a@b"] } }, "email.from"],
      [{ email: { smarthost: "smtp.example.com:25", from: "a@b", to: ["a@b", "{{ . }}@b"] } }, "email.to"],
    ];
    for (const [notifications, key] of wrong) {
      expect(() => alertmanagerFiles(notifications, "/secrets")).toThrow(`notifications: ${key}`);
    }
  });
});

const ruleFile = z.object({
  groups: z.array(
    z.object({
      rules: z.array(
        z.object({
          alert: z.string().optional(),
          record: z.string().optional(),
          labels: z.record(z.string(), z.string()).optional(),
          annotations: z.record(z.string(), z.string()).optional(),
        }),
      ),
    }),
  ),
});
const yamlFiles = (path: string): string[] =>
  readdirSync(join(manifests, path)).map((name) => join(manifests, path, name));
const rules = yamlFiles("prometheus/rules").flatMap((path) =>
  ruleFile.parse(parse(readFileSync(path, "utf8"))).groups.flatMap((group) => group.rules),
);
const alerts = rules.flatMap(({ alert, ...rest }) => (alert === undefined ? [] : [{ alert, ...rest }]));

describe("alert rules", () => {
  test.each(yamlFiles("prometheus/tests"))(
    "fire when they should and only then: %s",
    (path) => {
      const { passed, output } = runTool("promtool", ["test", "rules", path]);
      expect(passed, output).toBe(true);
    },
    30_000,
  );

  test.each(alerts)("$alert is tested both firing and not firing", ({ alert }) => {
    const cases = yamlFiles("prometheus/tests").flatMap((path) => {
      const { tests } = parse(readFileSync(path, "utf8")) as {
        tests: { alert_rule_test?: { alertname: string; exp_alerts: unknown[] }[] }[];
      };
      return tests.flatMap((test) => test.alert_rule_test ?? []).filter((test) => test.alertname === alert);
    });
    expect(cases.some(({ exp_alerts }) => exp_alerts.length > 0)).toBe(true);
    // The watchdog has no state in which it does not fire.
    if (alert !== "Watchdog") expect(cases.some(({ exp_alerts }) => exp_alerts.length === 0)).toBe(true);
  });

  test.each(alerts)(
    "$alert has a severity, a signal, a summary, and a runbook with its four parts",
    (rule) => {
      expect(["critical", "warning", "none"]).toContain(rule.labels?.["severity"]);
      expect(rule.labels?.["signal"]).toMatch(/^[a-z]+$/);
      expect(rule.annotations?.["summary"]).toBeTruthy();
      expect(rule.annotations?.["description"]).toBeTruthy();
      expect(rule.annotations?.["runbook_url"]).toBe(`docs/runbooks/${rule.alert}.md`);
      const runbook = readFileSync(join(root, "docs", "runbooks", `${rule.alert}.md`), "utf8");
      const headings = [...runbook.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading);
      expect(headings).toEqual(["What it means", "How to see it", "What to do", "How to know it is over"]);
    },
  );

  test("production keeps metrics for longer than any rule looks back", () => {
    const text = yamlFiles("prometheus/rules").map((path) => readFileSync(path, "utf8"));
    const days = [...text.join("\n").matchAll(/\[(\d+)d\]/g)].map(([, count]) => Number(count));
    expect(Math.max(...days)).toBe(30);
    const { config } = parse(readFileSync(join(root, "Pulumi.prod.yaml"), "utf8")) as {
      config: { "groundwork:monitoring": { retentionDays: number } };
    };
    expect(config["groundwork:monitoring"].retentionDays).toBeGreaterThan(Math.max(...days));
  });

  test("every runbook belongs to an alert, and its links lead somewhere", () => {
    const runbooks = readdirSync(join(root, "docs", "runbooks")).filter((name) => name !== "README.md");
    const alertNames = new Set(alerts.map(({ alert }) => `${alert}.md`));
    expect(runbooks.sort()).toEqual([...alertNames].sort());
    for (const name of [...runbooks, "README.md"]) {
      const text = readFileSync(join(root, "docs", "runbooks", name), "utf8");
      for (const [, target] of text.matchAll(/\]\(([\w.]+\.md)\)/g)) {
        expect(existsSync(join(root, "docs", "runbooks", target ?? "")), `${name} → ${String(target)}`).toBe(
          true,
        );
      }
    }
  });
});

describe("a critical alert", () => {
  const matchers = z.array(z.string()).transform((texts) => texts.map(matcher));
  const { inhibit_rules } = z
    .object({
      inhibit_rules: z.array(
        z.object({ source_matchers: matchers, target_matchers: matchers, equal: z.array(z.string()) }),
      ),
    })
    .parse(parse(readFileSync(join(manifests, "alertmanager", "alertmanager.yml"), "utf8")));
  const firing: Labels[] = yamlFiles("prometheus/tests").flatMap((path) => {
    const { tests } = parse(readFileSync(path, "utf8")) as {
      tests: { alert_rule_test?: { alertname: string; exp_alerts: { exp_labels: Labels }[] }[] }[];
    };
    return tests
      .flatMap(({ alert_rule_test = [] }) => alert_rule_test)
      .flatMap(({ alertname, exp_alerts }) =>
        exp_alerts.map(({ exp_labels }) => ({ alertname, ...exp_labels })),
      );
  });
  const applicable = (source: Labels, target: Labels) =>
    inhibit_rules.filter(
      (rule) =>
        rule.source_matchers.every((matches) => matches(source)) &&
        rule.target_matchers.every((matches) => matches(target)),
    );
  const pairs = firing.flatMap((source) =>
    firing
      .filter((target) => source["signal"] === target["signal"] && applicable(source, target).length > 0)
      .map((target) => ({ source, target, names: `${source["alertname"]} → ${target["alertname"]}` })),
  );

  test.each(pairs)(
    "has each label that must be equal just where the warning has it: $names",
    ({ source, target }) => {
      const [rule, ...more] = applicable(source, target);
      expect(more).toEqual([]);
      const had = (labels: Labels) => rule?.equal.filter((label) => label in labels);
      expect(had(source)).toEqual(had(target));
    },
  );

  test.each([
    [
      "DiskAlmostFull",
      "DiskFilling",
      { volume: "monitoring/data-loki-0" },
      { volume: "data/data-postgres-0" },
    ],
    ["DiskAlmostFull", "DiskFilling", { instance: "a:10250" }, { instance: "b:10250" }],
    ["LogQueueFilling", "LogsNotArriving", { instance: "a:8888" }, { instance: "b:8888" }],
    ["RedisQueueNoPrimary", "RedisDown", { job: "redis-queue" }, { job: "redis-cache" }],
    ["BackupVerificationFailed", "BackupVerificationTooOld", { kind: "verify" }, { kind: "recover" }],
    ["BackupVerificationFailed", "BackupUnknown", { kind: "verify" }, { kind: "recover" }],
    ["PostgresNoPrimary", "PostgresDown", { signal: "postgres" }, { signal: "redis" }],
  ])("%s holds back %s of the same thing and of no other: %s, %s", (critical, warning, same, other) => {
    const find = (name: string): Labels => firing.find(({ alertname }) => alertname === name) ?? {};
    const holdsBack = (labels: Labels): boolean => {
      const common = { volume: "data/a", ...same };
      const source: Labels = { ...find(critical), ...common };
      const target: Labels = { ...find(warning), ...common, ...labels };
      return applicable(source, target).some(({ equal }) =>
        equal.every((label) => source[label] === target[label]),
      );
    };
    expect(holdsBack(same)).toBe(true);
    expect(holdsBack(other)).toBe(false);
  });
});

type Labels = Readonly<Record<string, string>>;

/** As in `alertmanager.yml`; a label that is missing is empty there. */
function matcher(text: string): (labels: Labels) => boolean {
  const [, label = "", operator = "", value = ""] = /^(\w+) (=|=~|!~) "(.*)"$/.exec(text) ?? [];
  if (operator === "=") return (labels) => labels[label] === value;
  const pattern = new RegExp(`^(?:${value})$`);
  return (labels) => pattern.test(labels[label] ?? "") === (operator === "=~");
}

describe("files that stand alone", () => {
  test("prometheus.yml and alertmanager.yml pass their own tools' checks as they are in the repository", () => {
    const prometheus = runTool("promtool", [
      "check",
      "config",
      join(manifests, "prometheus", "prometheus.yml"),
    ]);
    expect(prometheus.passed, prometheus.output).toBe(true);
    const alertmanager = runTool("amtool", [
      "check-config",
      join(manifests, "alertmanager", "alertmanager.yml"),
    ]);
    expect(alertmanager.passed, alertmanager.output).toBe(true);
  });
});
