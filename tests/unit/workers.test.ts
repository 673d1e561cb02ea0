import { ScaledObject } from "@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject";
import * as pulumi from "@pulumi/pulumi";
import { beforeAll, describe, expect, test } from "vitest";

import { reservedVariables } from "../../components/appSettings.ts";
import { monitoringSchema } from "../../components/monitoring/schema.ts";
import { metricsSource } from "../../components/monitoring/settings.ts";
import { KubernetesSecretStore } from "../../components/secrets/kubernetesSecretStore.ts";
import { Workers } from "../../components/workers.ts";
import { appParts } from "./appParts.ts";
import { at, conform, ofType, register, timeoutsOf, type Registered } from "./mocks.ts";

const feeds = { acme: ["https://example.com/feed.xml"] };

const workers = (
  scaling: "fixed" | "keda",
  existing?: object,
  opts?: pulumi.ComponentResourceOptions,
): Promise<Registered[]> =>
  register(() => {
    const secrets = new KubernetesSecretStore("secrets");
    const { ca: _, ...parts } = appParts(secrets);
    new Workers(
      "workers",
      {
        namespace: pulumi.output("app"),
        image: "app:1",
        environment: "production",
        logLevel: "info",
        replicas: 2,
        scaling,
        maxReplicas: 10,
        jobsPerPod: 20,
        figures: metricsSource(
          { monitoring: monitoringSchema.parse({ existing }) },
          { monitoring: pulumi.output("monitoring") },
        ),
        resources: { cpuMillis: 100, memoryMiB: 128 },
        feeds,
        schedules: { collection: "0 * * * *", summaries: "5 * * * *", cleanUp: "0 3 * * *" },
        timeZone: "UTC",
        ...parts,
        secrets,
      },
      opts,
    );
  });

describe("Workers", () => {
  let resources: Registered[];
  let deployment: Registered | undefined;
  let container: Record<string, unknown>;
  beforeAll(async () => {
    resources = await workers("fixed");
    [deployment] = ofType(resources, ":Deployment");
    container = at(deployment, "spec.template.spec.containers.0") as typeof container;
  });
  const variable = (name: string) =>
    (container["env"] as { name: string; value: string }[]).find((v) => v.name === name)?.value;

  test("run the image's worker, with more time to end than it takes to hand jobs back", () => {
    expect(container).toMatchObject({
      image: "app:1",
      command: ["node", "--max-old-space-size=48", "/app/dist/worker.js"],
    });
    const seconds = Number(at(deployment, "spec.template.spec.terminationGracePeriodSeconds"));
    expect(seconds).toBeGreaterThanOrEqual(Number(variable("WORKER_GRACE_SECONDS")) + 10);
  });

  test("have every file that a variable names, and no key that signs tokens", () => {
    const [mounted] = ofType(resources, ":Secret");
    const files = Object.keys(at(mounted, "stringData") as object);
    const named = (container["env"] as { value: string }[])
      .map(({ value }) => /^\/run\/secrets\/groundwork\/(.+)$/.exec(value)?.[1])
      .filter((file) => file !== undefined);
    expect(named.sort()).toEqual(files.sort());
    expect(files).toContain("field-keys.json");
    expect(files).not.toContain("jwt-keys.json");
    expect(JSON.stringify(container)).not.toContain("generated-");
  });

  test("refuse as settings what the stack sets itself", () => {
    const names = (container["env"] as { name: string }[]).map(({ name }) => name);
    const ours = names.filter((name) => name !== "AI_URL" && name !== "AI_KEYS_FILE");
    expect(ours.filter((name) => !reservedVariables.some((reserved) => reserved === name))).toEqual([]);
    expect(variable("AI_URL")).toBe("https://ai.example.org/v1");
    expect(variable("AI_KEYS_FILE")).toBe("/run/secrets/groundwork/ai-keys-file");
  });

  test("are given their feeds and schedules", () => {
    const [map] = ofType(resources, ":ConfigMap");
    const [, file = ""] = /^\/etc\/groundwork\/feeds\/(.+)$/.exec(variable("FEEDS_FILE") ?? "") ?? [];
    expect(JSON.parse((at(map, "data") as Record<string, string>)[file] ?? "")).toEqual(feeds);
    expect(variable("CLEAN_UP_SCHEDULE")).toBe("0 3 * * *");
    expect(variable("SCHEDULE_TIME_ZONE")).toBe("UTC");
  });

  test("are probed and scraped on the metrics port, pod by pod, and evicted one at a time", () => {
    const [service] = ofType(resources, ":Service");
    expect(at(service, "spec")).toMatchObject({ clusterIP: "None", ports: [{ port: 9464 }] });
    expect(container).toMatchObject({
      ports: [{ name: "metrics", containerPort: 9464 }],
      livenessProbe: { httpGet: { path: "/health", port: "metrics" } },
      readinessProbe: { httpGet: { path: "/ready", port: "metrics" } },
    });
    expect(at(ofType(resources, ":PodDisruptionBudget")[0], "spec.maxUnavailable")).toBe(1);
  });

  test("have one scaler where KEDA scales them by what waits, and none where their number is fixed", async () => {
    expect(ofType(resources, ":ScaledObject")).toEqual([]);
    const scaled = await workers("keda");
    const [scaler, ...others] = ofType(scaled, ":ScaledObject");
    expect([...others, ...ofType(scaled, ":HorizontalPodAutoscaler")]).toEqual([]);
    expect(at(scaler, "spec")).toMatchObject({
      scaleTargetRef: { name: "worker" },
      minReplicaCount: 2,
      maxReplicaCount: 10,
      triggers: [
        {
          type: "prometheus",
          metadata: {
            serverAddress: "http://prometheus.monitoring.svc.cluster.local:9090",
            threshold: "20",
          },
        },
      ],
    });
    expect(at(scaler, "spec.triggers.0.metadata.query")).toContain("(app_jobs_waiting)");
    // Without a scaler the program takes the number of pods back from whoever decided it.
    const marks = [resources, scaled].map((all) => at(ofType(all, ":Deployment")[0], "metadata.annotations"));
    expect(marks).toEqual([{ "pulumi.com/patchForce": "true" }, undefined]);
    conform(ScaledObject, scaler?.inputs);
  });

  test("may take twenty seconds of an up's time for each pod that there may be: they roll one at a time", async () => {
    const updateOf = async (scaling: "fixed" | "keda") => {
      const { timeouts, transformations } = timeoutsOf(":Deployment");
      await workers(scaling, undefined, { transformations });
      return timeouts;
    };
    expect(await updateOf("fixed")).toEqual([{ create: "4m", update: "340s" }]);
    expect(await updateOf("keda")).toEqual([{ create: "4m", update: "500s" }]);
  });

  test("are scaled on what an existing Prometheus knows of this stack", async () => {
    const [scaler] = ofType(await workers("keda", { namespace: "observability" }), ":ScaledObject");
    expect(at(scaler, "spec.triggers.0.metadata")).toMatchObject({
      serverAddress: "http://prometheus-operated.observability.svc.cluster.local:9090",
      query: `sum(max by (queue) (app_jobs_waiting{stack="${pulumi.getStack()}"}))`,
    });
  });
});
