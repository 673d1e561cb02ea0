import * as pulumi from "@pulumi/pulumi";
import { beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { z } from "zod";

import { flows } from "../../components/flows.ts";
import { Logging } from "../../components/logging/logging.ts";
import { loggingSchema } from "../../components/logging/schema.ts";
import { manifestFiles } from "../../components/manifests.ts";
import { Grafana } from "../../components/monitoring/grafana.ts";
import { StackNamespaces } from "../../components/namespaces.ts";
import { KubernetesSecretStore } from "../../components/secrets/kubernetesSecretStore.ts";
import { at, ofType, register, type Registered } from "./mocks.ts";

const namespaces = {
  edge: pulumi.output("edge"),
  app: pulumi.output("app"),
  data: pulumi.output("data"),
  monitoring: pulumi.output("monitoring"),
};
const args = {
  namespaces: { ...namespaces, "node-agents": pulumi.output("node-agents") },
  image: (name: string) => `${name}:1`,
  retentionDays: 30,
  storageGiB: 4,
  resources: { cpuMillis: 50, memoryMiB: 300 },
  traces: { retentionDays: 7, storageGiB: 2, resources: { cpuMillis: 60, memoryMiB: 400 } },
  collectors: { resources: { cpuMillis: 70, memoryMiB: 200 } },
  podLogs: "/var/log/pods",
  retainData: true,
};
const pod = "spec.template.spec";

describe("Logging", () => {
  let resources: Registered[];
  const outputs: Record<string, unknown> = {};
  const named = (type: string, name: string): Registered | undefined =>
    ofType(resources, type).find((resource) => resource.name === name);
  const variables = (workload: Registered | undefined): Record<string, unknown> =>
    Object.fromEntries(
      (at(workload, `${pod}.containers.0.env`) as { name: string; value: unknown }[]).map((entry) => [
        entry.name,
        entry.value,
      ]),
    );
  beforeAll(async () => {
    resources = await register(() => {
      const { tracesUrl, metrics, stores } = new Logging("logging", args);
      pulumi.output({ tracesUrl, metrics, stores }).apply((value) => Object.assign(outputs, value));
    });
  });

  test("reads the node's logs without being able to write, as nobody, without a token", () => {
    const agent = named(":DaemonSet", "log-agent");
    expect(at(agent, "metadata.namespace")).toBe("node-agents");
    expect(at(agent, pod)).toMatchObject({
      automountServiceAccountToken: false,
      securityContext: { runAsNonRoot: true, runAsUser: 10001, runAsGroup: 0 },
      tolerations: [{ operator: "Exists" }],
    });
    const volumes = at(agent, `${pod}.volumes`) as { name: string; hostPath?: { path: string } }[];
    const ofNode = volumes.filter(({ hostPath }) => hostPath);
    expect(ofNode).toMatchObject([{ name: "pod-logs", hostPath: { path: "/var/log/pods" } }]);
    expect(at(agent, `${pod}.containers.0.volumeMounts`)).toContainEqual({
      name: "pod-logs",
      mountPath: "/var/log/pods",
      readOnly: true,
    });
    expect(at(agent, `${pod}.containers.0.securityContext`)).toMatchObject({
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    });
  });

  test("keeps logs and traces for as long as is configured, on volumes that outlive the stack", () => {
    expect(variables(named(":StatefulSet", "loki"))).toMatchObject({ LOG_RETENTION: "720h" });
    expect(variables(named(":StatefulSet", "jaeger"))).toMatchObject({ TRACE_RETENTION: "168h" });
    for (const [name, size] of [
      ["loki", "4Gi"],
      ["jaeger", "2Gi"],
    ] as const) {
      const store = named(":StatefulSet", name);
      expect(at(store, "spec.volumeClaimTemplates.0.spec.resources.requests.storage")).toBe(size);
      expect(at(store, "spec.persistentVolumeClaimRetentionPolicy.whenDeleted")).toBe("Retain");
    }
  });

  test("gives each the memory that is configured, of which Go is told", () => {
    for (const [kind, name, limit, heap] of [
      [":StatefulSet", "loki", "300Mi", "270MiB"],
      [":StatefulSet", "jaeger", "400Mi", "360MiB"],
      [":DaemonSet", "log-agent", "200Mi", "160MiB"],
      [":Deployment", "trace-gateway", "200Mi", "160MiB"],
    ] as const) {
      const workload = named(kind, name);
      expect(at(workload, `${pod}.containers.0.resources.limits.memory`), name).toBe(limit);
      expect(variables(workload)["GOMEMLIMIT"], name).toBe(heap);
    }
  });

  test("leads each collector to its store, and the app to the gateway", () => {
    const { tracesUrl, stores } = outputs;
    expect(variables(named(":DaemonSet", "log-agent"))["STORE_URL"]).toBe(
      "http://loki.monitoring.svc.cluster.local:3100",
    );
    expect(variables(named(":Deployment", "trace-gateway"))["STORE_URL"]).toBe(
      "http://jaeger.monitoring.svc.cluster.local:4318",
    );
    expect(tracesUrl).toBe("http://trace-gateway.monitoring.svc.cluster.local:4318/v1/traces");
    expect(stores).toEqual({
      loki: { host: "loki.monitoring.svc.cluster.local", port: 3100 },
      jaeger: { host: "jaeger.monitoring.svc.cluster.local", port: 16686 },
    });
  });

  test("has all four scraped, through flows that are open", () => {
    const { metrics } = outputs as { metrics: { job: string; port: number }[] };
    expect(metrics.map(({ job }) => job).sort()).toEqual(["jaeger", "log-agent", "loki", "trace-gateway"]);
    for (const { job, port } of metrics) expect(flows).toContainEqual({ from: "prometheus", to: job, port });
    for (const [from, to, port] of [
      ["log-agent", "loki", 3100],
      ["trace-gateway", "jaeger", 4318],
      ["app", "trace-gateway", 4318],
      ["worker", "trace-gateway", 4318],
    ])
      expect(flows).toContainEqual({ from, to, port });
  });

  test("has two gateways in production, which hand each other the spans of the traces that they judge", () => {
    const gateway = named(":Deployment", "trace-gateway");
    expect(at(gateway, "spec.replicas")).toBe(2);
    expect(variables(gateway)["PEERS"]).toBe("trace-gateway.monitoring.svc.cluster.local");
    expect(flows).toContainEqual({ from: "trace-gateway", to: "trace-gateway", port: 4317 });
    expect(named(":PodDisruptionBudget", "trace-gateway")).toBeDefined();
    expect(at(gateway, `${pod}.topologySpreadConstraints`)).toHaveLength(2);
  });

  test("has one gateway elsewhere, or as many as are asked for", async () => {
    const gateways = async (gateways?: number): Promise<unknown> => {
      const traces = { ...args.traces, gateways };
      const made = await register(() => new Logging("logging", { ...args, traces, retainData: false }));
      const [gateway] = ofType(made, ":Deployment");
      return at(gateway, "spec.replicas");
    };
    expect([await gateways(), await gateways(3)]).toEqual([1, 3]);
  });

  test("needs the namespace for node agents", async () => {
    const without = register(() => new Logging("logging", { ...args, namespaces }));
    await expect(without).rejects.toThrow(/node-agents/);
  });

  test("gives the queue a volume with room for twice its size", () => {
    const { sending_queue: queue } = agentFile().exporters["otlphttp/loki"];
    const volumes = at(named(":DaemonSet", "log-agent"), `${pod}.volumes`) as {
      name: string;
      emptyDir?: { sizeLimit: string };
    }[];
    const state = volumes.find(({ name }) => name === "state")?.emptyDir?.sizeLimit ?? "";
    expect(parseInt(state) * 2 ** 20).toBeGreaterThanOrEqual(2 * queue.queue_size);
  });
});

const agentShape = z.object({
  receivers: z.object({ filelog: z.looseObject({ storage: z.string(), start_at: z.string() }) }),
  exporters: z.object({
    "otlphttp/loki": z.looseObject({
      retry_on_failure: z.looseObject({ max_elapsed_time: z.string() }),
      sending_queue: z.looseObject({
        storage: z.string(),
        queue_size: z.number(),
        block_on_overflow: z.boolean(),
      }),
    }),
  }),
  service: z.object({ extensions: z.array(z.string()) }),
});
const agentFile = () => agentShape.parse(parse(manifestFiles("logging")["agent.yaml"] ?? ""));

describe("the agent's file", () => {
  test("keeps lines on disk, tries for ever, and reads no more than it can keep", () => {
    const { receivers, exporters, service } = agentFile();
    const { retry_on_failure: retry, sending_queue: queue } = exporters["otlphttp/loki"];
    expect(receivers.filelog).toMatchObject({
      storage: "file_storage",
      start_at: "beginning",
      retry_on_failure: { enabled: true, max_elapsed_time: "0s" },
    });
    expect(retry).toMatchObject({ enabled: true, max_elapsed_time: "0s" });
    expect(queue).toMatchObject({ enabled: true, storage: "file_storage", block_on_overflow: true });
    expect(service.extensions).toContain("file_storage");
  });
});

describe("Grafana", () => {
  const grafana = (stores?: ConstructorParameters<typeof Grafana>[1]["stores"]) =>
    register(
      () =>
        new Grafana("grafana", {
          namespace: pulumi.output("monitoring"),
          image: "grafana:1",
          resources: { cpuMillis: 50, memoryMiB: 176 },
          secrets: new KubernetesSecretStore("secrets"),
          prometheus: { host: "prometheus", port: 9090 },
          stores,
        }),
    );
  const items = (resources: readonly Registered[]) =>
    at(ofType(resources, ":Deployment")[0], `${pod}.volumes.1.configMap.items`) as { path: string }[];
  const sources = (resources: readonly Registered[]) =>
    items(resources).filter(({ path }) => path.startsWith("provisioning/datasources/"));

  test("finds logs and traces where they are kept, and each from the other", async () => {
    const resources = await grafana({
      loki: { host: "loki", port: 3100 },
      jaeger: { host: "jaeger", port: 16686 },
    });
    expect(sources(resources).map(({ path }) => path)).toEqual([
      "provisioning/datasources/datasources.yaml",
      "provisioning/datasources/logging.yaml",
    ]);
    const environment = at(ofType(resources, ":Deployment")[0], `${pod}.containers.0.env`);
    expect(environment).toContainEqual({ name: "LOKI_URL", value: "http://loki:3100" });
    expect(environment).toContainEqual({ name: "JAEGER_URL", value: "http://jaeger:16686" });
    const { datasources } = parse(manifestFiles("grafana/logging")["logging.yaml"] ?? "") as {
      datasources: object[];
    };
    expect(datasources).toMatchObject([
      { uid: "loki", jsonData: { derivedFields: [{ matcherRegex: "trace_id", datasourceUid: "jaeger" }] } },
      { uid: "jaeger", jsonData: { tracesToLogsV2: { datasourceUid: "loki" } } },
    ]);
  });

  test("offers neither where none are collected", async () => {
    expect(sources(await grafana())).toHaveLength(1);
  });
});

describe("the namespace for node agents", () => {
  const enforced = async (nodeAgents: boolean) =>
    Object.fromEntries(
      ofType(await register(() => new StackNamespaces("namespaces", { nodeAgents })), ":Namespace").map(
        (namespace) => [
          namespace.name,
          (at(namespace, "metadata.labels") as Record<string, string>)["pod-security.kubernetes.io/enforce"],
        ],
      ),
    );

  test("is the only one that is not restricted, and there only when it is needed", async () => {
    const restricted = Object.fromEntries(Object.keys(namespaces).map((name) => [name, "restricted"]));
    expect(await enforced(true)).toEqual({ ...restricted, "node-agents": "privileged" });
    expect(await enforced(false)).toEqual(restricted);
  });
});

describe("the settings", () => {
  test("collect nothing unless asked, and keep logs for 30 days", () => {
    expect(loggingSchema.parse(undefined)).toMatchObject({ enabled: false, retentionDays: 30 });
  });

  test.each(["var/log/pods", "/", "/var/../etc", "/var/log/./pods", "/var//log", "/var/log/"])(
    "refuse %j as the place of the pods' logs",
    (podLogs) => {
      expect(loggingSchema.safeParse({ podLogs }).error?.issues[0]?.message).toMatch(/\/var\/log\/pods/);
    },
  );

  test("take a hidden directory", () => {
    expect(loggingSchema.safeParse({ podLogs: "/root/.cache/pod-logs" }).success).toBe(true);
  });
});
