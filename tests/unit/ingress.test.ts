import * as pulumi from "@pulumi/pulumi";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";

import { NginxIngress, type NginxIngressArgs } from "../../components/ingress.ts";
import {
  limitsConf,
  realIpConf,
  serverNameConf,
  siteConf,
  upstreamConf,
} from "../../components/ingressFiles.ts";
import { KubernetesSecretStore } from "../../components/secrets/kubernetesSecretStore.ts";
import { at, ofType, register, type Registered } from "./mocks.ts";

const app = { host: "app.app.svc.cluster.local", port: 80 };
const limits = { requestsPerSecond: 20, burst: 40, signInPerMinute: 5, connectionsPerAddress: 50 };
const edge = (changes: Partial<NginxIngressArgs> = {}, pem = "certificate and key"): Promise<Registered[]> =>
  register(() => {
    const secrets = new KubernetesSecretStore("secrets");
    new NginxIngress("edge", {
      namespace: pulumi.output("edge"),
      image: "nginx:1",
      exporterImage: "nginx-exporter:1",
      replicas: 2,
      resources: { cpuMillis: 50, memoryMiB: 64 },
      secrets,
      tlsBundle: secrets.keep("tls-bundle", pem),
      hosts: ["api.example.com"],
      upstreams: {
        apiV1: [{ ...app, percent: 100 }],
        apiV2: [{ percent: 100, host: "app-v2.app.svc.cluster.local", port: 8000 }],
        app: [{ ...app, percent: 100 }],
      },
      limits,
      trustedProxies: [],
      service: { type: "NodePort", httpsPort: 30443, httpPort: 30080 },
      ...changes,
    });
  });
const only = (resources: readonly Registered[], type: string): Registered | undefined =>
  ofType(resources, type)[0];
const reached = (resources: readonly Registered[]): Registered | undefined =>
  ofType(resources, ":Service").find(({ name }) => name === "edge");
const file = (resources: readonly Registered[], name: string): unknown =>
  (at(only(resources, ":ConfigMap"), "data") as Record<string, string>)[name];
const annotations = (resources: readonly Registered[]): unknown =>
  at(only(resources, ":Deployment"), "spec.template.metadata.annotations");

describe("NginxIngress", () => {
  let resources: Registered[];
  beforeAll(async () => {
    resources = await edge();
  });
  const pod = (path: string): unknown => at(only(resources, ":Deployment"), `spec.template.spec.${path}`);

  test("runs as a restricted pod, without an API token and without a writable root", () => {
    expect(pod("automountServiceAccountToken")).toBe(false);
    expect(pod("securityContext")).toMatchObject({ runAsNonRoot: true, runAsUser: 10001 });
    expect(pod("containers.0.securityContext")).toMatchObject({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    });
  });

  test("rolls without going below its replicas, and lets a leaving pod finish within its grace period", () => {
    expect(at(only(resources, ":Deployment"), "spec.strategy.rollingUpdate")).toEqual({
      maxSurge: 1,
      maxUnavailable: 0,
    });
    const [, , drain] = pod("containers.0.lifecycle.preStop.exec.command") as string[];
    expect(drain).toMatch(/^sleep 5; kill -QUIT /);
    const shutdown = /worker_shutdown_timeout (\d+)s/.exec(file(resources, "nginx.conf") as string);
    expect(pod("terminationGracePeriodSeconds")).toBeGreaterThanOrEqual(5 + Number(shutdown?.[1]));
    expect(at(only(resources, ":PodDisruptionBudget"), "spec.maxUnavailable")).toBe(1);
  });

  test("gives a load balancer, which looks at each node every five seconds, time to see who leaves and who is new", async () => {
    const balanced = only(await edge({ service: { type: "LoadBalancer" } }), ":Deployment");
    const pathTo = (path: string): unknown => at(balanced, `spec.template.spec.${path}`);
    const [, , drain] = pathTo("containers.0.lifecycle.preStop.exec.command") as string[];
    expect(drain).toMatch(/^sleep 20; kill -QUIT /);
    expect(pathTo("terminationGracePeriodSeconds")).toBe(
      (pod("terminationGracePeriodSeconds") as number) + 15,
    );
    expect(at(balanced, "spec.minReadySeconds")).toBe(15);
    expect(at(only(resources, ":Deployment"), "spec.minReadySeconds")).toBeUndefined();
  });

  test("is probed on its own health, so that a failing app takes no edge pod away", () => {
    for (const probe of ["startupProbe", "readinessProbe", "livenessProbe"]) {
      expect(pod(`containers.0.${probe}.httpGet`)).toEqual({ path: "/health", port: "http" });
    }
  });

  test("reads the certificate from a mounted file that the configuration names", () => {
    expect(file(resources, "site.conf")).toContain("ssl_certificate_key /run/secrets/groundwork/tls.pem;");
    expect(at(only(resources, ":Secret"), "stringData")).toEqual({ "tls.pem": "certificate and key" });
    expect(JSON.stringify(only(resources, ":Deployment"))).not.toContain("certificate and key");
  });

  test("sends each API version to its own upstream", () => {
    expect(file(resources, "upstreams.conf")).toMatch(
      /upstream api_v1_0 \{[^}]*server app\.app\.svc\.cluster\.local:80 /,
    );
    expect(file(resources, "upstreams.conf")).toMatch(
      /upstream api_v2_0 \{[^}]*server app-v2\.app\.svc\.cluster\.local:8000 /,
    );
  });

  test("rolls its pods when a limit changes, and not for a certificate, which is reloaded", async () => {
    expect(annotations(await edge())).toEqual(annotations(resources));
    expect(annotations(await edge({ limits: { ...limits, burst: 41 } }))).not.toEqual(annotations(resources));
    expect(annotations(await edge({}, "another certificate"))).toEqual(annotations(resources));
  });

  test("keeps client addresses, on fixed node ports or behind a load balancer", async () => {
    expect(at(reached(resources), "spec")).toMatchObject({
      type: "NodePort",
      externalTrafficPolicy: "Local",
      ports: [{ nodePort: 30443 }, { nodePort: 30080 }],
    });
    const cloud = await edge({
      service: { type: "LoadBalancer", annotations: { "example.com/internal": "true" } },
    });
    const service = reached(cloud);
    expect(at(service, "spec")).toMatchObject({ type: "LoadBalancer", externalTrafficPolicy: "Local" });
    expect(at(service, "metadata.annotations")).toEqual({ "example.com/internal": "true" });
    expect(file(cloud, "site.conf")).toContain('default "";');
    expect(file(resources, "site.conf")).toContain('default ":30443";');
  });
});

/** Text with what nginx gives a meaning to. */
const hostile = fc
  .tuple(
    fc.string(),
    fc.constantFrom(";", "{", "}", "$", "\n", " ", "#", '"', "'", "\\", "%", "*", "~"),
    fc.string(),
  )
  .map((parts) => parts.join(""));

describe("what reaches nginx", () => {
  test("is never a host name that could be anything else", () => {
    fc.assert(
      fc.property(hostile, (text) => {
        expect(() => serverNameConf([text])).toThrow(/must be a host name/);
        expect(() => upstreamConf("app", [{ percent: 100, host: text, port: 80 }])).toThrow(
          /must be a host name/,
        );
      }),
    );
    for (const host of ["", "-a", "a-", "a..b", "example.com:443", "a".repeat(64), `${"a.".repeat(127)}aa`]) {
      expect(() => serverNameConf([host]), host).toThrow(JSON.stringify(host));
    }
    expect(() => serverNameConf([])).toThrow("at least one");
  });

  test("is every proper host name", () => {
    fc.assert(
      fc.property(fc.domain(), (host) => {
        expect(serverNameConf([host, "127.0.0.1"])).toBe(`server_name ${host} 127.0.0.1;\n`);
      }),
    );
  });

  test("is never a network that could be anything else", () => {
    fc.assert(
      fc.property(hostile, (text) => {
        for (const cidr of [text, `${text}/8`, `10.0.0.0/${text}`, `fe80::1%${text}/64`]) {
          expect(() => realIpConf([cidr])).toThrow(/must be a network/);
        }
      }),
    );
    for (const cidr of [
      "10.0.0.0",
      "10.0.0.0/33",
      "fd00::/129",
      "10.0.0.0/8/8",
      "unix:",
      "fe80::1%eth0/64",
      "0.0.0.0/",
      "10.0.0.0/-1",
    ]) {
      expect(() => realIpConf([cidr]), cidr).toThrow(JSON.stringify(cidr));
    }
  });

  test("is every proper network, and nobody is trusted when there is none", () => {
    fc.assert(
      fc.property(
        fc.ipV4(),
        fc.integer({ min: 0, max: 32 }),
        fc.ipV6(),
        fc.integer({ min: 0, max: 128 }),
        (v4, a, v6, b) => {
          expect(realIpConf([`${v4}/${a}`, `${v6}/${b}`])).toContain(
            `set_real_ip_from ${v4}/${a};\nset_real_ip_from ${v6}/${b};`,
          );
        },
      ),
    );
    expect(realIpConf([])).not.toContain("real_ip_header");
  });

  test("is only numbers that make sense", () => {
    for (const value of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 1e9]) {
      for (const key of ["requestsPerSecond", "burst", "signInPerMinute", "connectionsPerAddress"] as const) {
        expect(() => limitsConf({ ...limits, [key]: value })).toThrow(`limits.${key}`);
      }
      expect(() => siteConf({ certificateFile: "/tls.pem", publicPort: value })).toThrow("port");
    }
    expect(() => siteConf({ certificateFile: "/tls.pem; include /etc/passwd", publicPort: 443 })).toThrow(
      "absolute path",
    );
  });

  test("holds the limits that were asked for", () => {
    const text = limitsConf(limits);
    expect(text).toContain("zone=requests:10m rate=20r/s;");
    expect(text).toContain("limit_req zone=requests burst=40 nodelay;");
    expect(text).toContain("zone=sign_in:10m rate=5r/m;");
    expect(text).toContain("limit_conn connections 50;");
    expect(limitsConf({ ...limits, burst: 0 })).toContain("limit_req zone=requests;");
  });
});
