import * as pulumi from "@pulumi/pulumi";
import { beforeAll, describe, expect, test } from "vitest";

import { reservedVariables } from "../../components/appSettings.ts";
import { ownContainer, type AppContainer } from "../../components/appContainer.ts";
import { flows, flowsFor } from "../../components/flows.ts";
import { releaseSchema } from "../../components/releaseTraffic.ts";
import { loadScalingSchema, type LoadScaling } from "../../components/scaling.ts";
import { KubernetesSecretStore } from "../../components/secrets/kubernetesSecretStore.ts";
import { WebApp } from "../../components/webApp.ts";
import { appParts, endpoint } from "./appParts.ts";
import { at, ofType, register, timeoutsOf, type Registered } from "./mocks.ts";

const app = (
  image: string,
  tracesUrl?: string,
  container: AppContainer = ownContainer,
  scaling?: LoadScaling,
  opts?: pulumi.ComponentResourceOptions,
  replicas = 3,
): Promise<Registered[]> =>
  register(() => {
    const secrets = new KubernetesSecretStore("secrets");
    const { ca, redisQueue, ...parts } = appParts(secrets);
    new WebApp(
      "app",
      {
        namespace: pulumi.output("app"),
        image,
        environment: "production",
        replicas,
        scaling,
        resources: { cpuMillis: 100, memoryMiB: 128 },
        logLevel: "info",
        tracesUrl,
        poolSize: 10,
        poolOverflow: 20,
        release: releaseSchema.parse({}),
        migrationSeconds: 900,
        ...parts,
        redisQueue: {
          ...redisQueue,
          sentinels: [0, 1].map((n) => endpoint(`redis-queue-${n}`, 26379)),
        },
        secrets,
        container,
        certificate: { bundle: secrets.keep("app-tls", "chain and key"), ca },
        signingKeys: secrets.keep("jwt", "{}"),
      },
      opts,
    );
  });

describe("WebApp", () => {
  let resources: Registered[];
  let container: Record<string, unknown>;
  beforeAll(async () => {
    resources = await app("app:1");
    container = at(
      ofType(resources, ":Deployment")[0],
      "spec.template.spec.containers.0",
    ) as typeof container;
  });
  const variable = (name: string) =>
    (container["env"] as { name: string; value: string }[]).find((v) => v.name === name)?.value;

  test("has liveness, readiness and start-up probes, and never drops a ready pod in a rollout", () => {
    expect(container).toMatchObject({
      livenessProbe: { httpGet: { path: "/health" } },
      readinessProbe: { httpGet: { path: "/ready" } },
      startupProbe: { httpGet: { path: "/health" } },
    });
    expect(at(ofType(resources, ":Deployment")[0], "spec.strategy.rollingUpdate.maxUnavailable")).toBe(0);
  });

  test("tells the app where everything is, with passwords as files only", () => {
    expect(variable("DATABASE_URL")).toBe("postgres://app_user@postgres.data.svc.cluster.local:5432/app");
    expect(variable("REDIS_CACHE_URL")).toBe("rediss://app@redis-cache.data.svc.cluster.local:6379");
    expect(variable("REDIS_QUEUE_SENTINELS")).toBe(
      "redis-queue-0.data.svc.cluster.local:26379,redis-queue-1.data.svc.cluster.local:26379",
    );
    expect(variable("DATABASE_PASSWORD_FILE")).toBe("/run/secrets/groundwork/database-password");
    expect(JSON.stringify(container)).not.toContain("generated-");
  });

  test("keeps V8 far enough below the container's memory that a command beside it does not end it", () => {
    expect(at({ type: "", name: "", inputs: container }, "resources.limits.memory")).toBe("128Mi");
    expect(container["command"]).toEqual(["node", "--max-old-space-size=48", "/app/dist/server.js"]);
  });

  test("refuses as settings what the stack sets itself", () => {
    const names = (container["env"] as { name: string }[]).map(({ name }) => name);
    const ours = names.filter((name) => name !== "AI_URL" && name !== "AI_KEYS_FILE");
    expect(ours.filter((name) => !reservedVariables.some((reserved) => reserved === name))).toEqual([]);
    expect(variable("AI_URL")).toBe("https://ai.example.org/v1");
    expect(variable("AI_KEYS_FILE")).toBe("/run/secrets/groundwork/ai-keys-file");
  });

  test("sends every span of the app where they are collected, and none of the migration's", async () => {
    expect(variable("OTLP_TRACES_URL")).toBeUndefined();
    const traced = await app("app:1", "http://gateway:4318/v1/traces");
    const path = "spec.template.spec.containers.0.env";
    expect(at(ofType(traced, ":Deployment")[0], path)).toEqual(
      expect.arrayContaining([
        { name: "OTLP_TRACES_URL", value: "http://gateway:4318/v1/traces" },
        { name: "TRACE_SAMPLE_RATIO", value: "1" },
      ]),
    );
    expect(JSON.stringify(at(ofType(traced, ":Job")[0], path))).not.toContain("OTLP");
  });

  test("gives every connection the authority to check the server's certificate against", () => {
    const mounted = ofType(resources, ":Secret").find(
      (secret) => at(secret, "metadata.name") === "app-secrets",
    );
    for (const name of ["DATABASE_CA_FILE", "REDIS_CACHE_CA_FILE", "REDIS_QUEUE_CA_FILE"]) {
      const file = variable(name)?.replace("/run/secrets/groundwork/", "") ?? "";
      expect((at(mounted, "stringData") as Record<string, string>)[file], name).toBe("pem");
    }
  });

  test("serves by TLS from a mounted file, also to the kubelet", () => {
    const mounted = ofType(resources, ":Secret").find(({ name }) => name === "app-secrets");
    expect(variable("TLS_FILE")).toBe("/run/secrets/groundwork/tls.pem");
    expect(at(mounted, "stringData")).toMatchObject({ "tls.pem": "chain and key", "tls-ca.crt": "pem" });
    for (const probe of ["livenessProbe", "readinessProbe", "startupProbe"])
      expect(container[probe]).toMatchObject({ httpGet: { scheme: "HTTPS", port: "https" } });
  });

  test("gives the owner's password to the migration and to nothing else", () => {
    const holders = ofType(resources, ":Secret").filter((secret) =>
      JSON.stringify(secret).includes("app_owner"),
    );
    expect(holders.map((secret) => at(secret, "metadata.name"))).toEqual(["app-migrate-secrets"]);
  });

  test("lets a migration take as long as the stack says, and an up wait until the Job itself says that it failed", async () => {
    const { timeouts, transformations } = timeoutsOf(":Job");
    const watched = await app("app:1", undefined, ownContainer, undefined, { transformations });
    expect(at(ofType(watched, ":Job")[0], "spec.activeDeadlineSeconds")).toBe(900);
    expect(timeouts).toEqual([{ create: "960s" }]);
  });

  test("may take twenty seconds of an up's time for each pod that there may be: they roll one at a time", async () => {
    const updateOf = async (replicas: number, maxReplicas?: number) => {
      const scaling = maxReplicas === undefined ? undefined : loadScalingSchema.parse({ maxReplicas });
      const { timeouts, transformations } = timeoutsOf(":Deployment");
      await app("app:1", undefined, ownContainer, scaling, { transformations }, replicas);
      return timeouts;
    };
    expect(await updateOf(1)).toEqual([{ create: "4m", update: "320s" }]);
    expect(await updateOf(3)).toEqual([{ create: "4m", update: "360s" }]);
    expect(await updateOf(3, 100)).toEqual([{ create: "4m", update: "2300s" }]);
  });

  test("migrates once for each image: a new image is a new Job, the same image the same", async () => {
    const jobName = async (image: string) => at(ofType(await app(image), ":Job")[0], "metadata.name");
    expect(await jobName("app:1")).toBe(await jobName("app:1"));
    expect(await jobName("app:1")).not.toBe(await jobName("app:2"));
  });

  test("shows metrics on a port that its Service does not have", () => {
    const services = ofType(resources, ":Service");
    const ports = (name: string) =>
      at(
        services.find((service) => at(service, "metadata.name") === name),
        "spec.ports",
      ) as { port: number }[];
    expect(ports("app-share-10").map(({ port }) => port)).toEqual([443]);
    expect(ports("app-metrics").map(({ port }) => port)).toEqual([9464]);
  });

  test("is reached by three Services that a release turns one after another: 10, 50, 100 % of the users", () => {
    const shares = ofType(resources, ":Service").filter(({ name }) => name.startsWith("app-share-"));
    expect(shares.map(({ name }) => Number(name.split("-").at(-1)))).toEqual([10, 40, 50]);
    for (const share of shares)
      expect(at(share, "spec.selector")).toEqual({ "app.kubernetes.io/name": "app" });
  });

  test("looks at the emergency's switches, which are off", () => {
    const map = ofType(resources, ":ConfigMap").find(({ name }) => name === "app-switches");
    expect(at(map, "data")).toEqual({ "sign-in": "off", "ai-mode": "normal", notice: "" });
    expect(variable("FALLBACK_SIGN_IN_FILE")).toBe("/etc/groundwork/switches/sign-in");
    expect(variable("AI_MODE_FILE")).toBe("/etc/groundwork/switches/ai-mode");
    expect(variable("NOTICE_FILE")).toBe("/etc/groundwork/switches/notice");
    expect(container["volumeMounts"]).toContainEqual(
      expect.objectContaining({ mountPath: "/etc/groundwork/switches" }),
    );
  });

  test("tells the release tooling its limits", () => {
    const map = ofType(resources, ":ConfigMap").find(({ name }) => name === "app-release-settings");
    expect(JSON.parse((at(map, "data") as Record<string, string>)["settings.json"] ?? "")).toEqual(
      releaseSchema.parse({}),
    );
  });

  test("has three to ten pods by CPU and memory where it is scaled, by one scaler, and three where it is not", async () => {
    expect(ofType(resources, ":HorizontalPodAutoscaler")).toEqual([]);
    const scaled = await app("app:1", undefined, undefined, loadScalingSchema.parse({}));
    const [scaler, ...others] = ofType(scaled, ":HorizontalPodAutoscaler");
    expect(others).toEqual([]);
    expect(at(scaler, "spec")).toMatchObject({
      scaleTargetRef: { kind: "Deployment", name: "app" },
      minReplicas: 3,
      maxReplicas: 10,
      metrics: [
        { resource: { name: "cpu", target: { averageUtilization: 70 } } },
        { resource: { name: "memory", target: { averageUtilization: 80 } } },
      ],
    });
    // Without a scaler the program takes the number of pods back from whoever decided it.
    const marks = [resources, scaled].map((all) => at(ofType(all, ":Deployment")[0], "metadata.annotations"));
    expect(marks).toEqual([{ "pulumi.com/patchForce": "true" }, undefined]);
  });

  test("allows evictions only one at a time", () => {
    expect(at(ofType(resources, ":PodDisruptionBudget")[0], "spec.maxUnavailable")).toBe(1);
  });
});

describe("another container in the app's place", () => {
  const podinfo: AppContainer = {
    command: ["./podinfo", "--port=9898", "--port-metrics=9797"],
    port: 9898,
    tls: false,
    metricsPort: 9797,
    livenessPath: "/healthz",
    readinessPath: "/readyz",
    migration: [],
  };

  test("is run by its own command, on its own ports, asked at its own paths", async () => {
    const resources = await app("podinfo:1", undefined, podinfo);
    expect(at(ofType(resources, ":Deployment")[0], "spec.template.spec.containers.0")).toMatchObject({
      image: "podinfo:1",
      command: podinfo.command,
      ports: [{ containerPort: 9898 }, { containerPort: 9797 }],
      startupProbe: { httpGet: { path: "/healthz" } },
      livenessProbe: { httpGet: { path: "/healthz" } },
      readinessProbe: { httpGet: { path: "/readyz" } },
      env: expect.arrayContaining([{ name: "PORT", value: "9898" }]) as unknown,
    });
    const metrics = ofType(resources, ":Service").find((one) => at(one, "metadata.name") === "app-metrics");
    expect(at(metrics, "spec.ports.0.port")).toBe(9797);
    const share = ofType(resources, ":Service").find(({ name }) => name === "app-share-10");
    expect(at(share, "spec.ports.0")).toEqual({ name: "http", port: 80, targetPort: "http" });
    expect(JSON.stringify(resources)).not.toMatch(/HTTPS|TLS_FILE|chain and key/);
  });

  test("is not migrated when it has no such program, and by its own when it has one", async () => {
    expect(ofType(await app("podinfo:1", undefined, podinfo), ":Job")).toEqual([]);
    const [job] = ofType(await app("other:1", undefined, { ...podinfo, migration: ["./migrate"] }), ":Job");
    expect(at(job, "spec.template.spec.containers.0.command")).toEqual(["./migrate"]);
  });

  test("is reached by the edge, Prometheus and who looks at its certificate on its ports and on no others", () => {
    const to = (name: string) => flowsFor(podinfo).filter((flow) => flow.to === name);
    expect(to("app").map(({ from, port }) => `${from} ${port}`)).toEqual([
      "edge 9898",
      "prometheus 9797",
      "prober 9898",
    ]);
    expect(to("worker")).toEqual(flows.filter((flow) => flow.to === "worker"));
    expect(flowsFor(ownContainer)).toEqual(flows);
  });
});
