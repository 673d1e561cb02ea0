import * as pulumi from "@pulumi/pulumi";
import { beforeAll, describe, expect, test } from "vitest";

import { readConfig } from "../../components/config.ts";
import type { CertificateSource } from "../../components/edgeCertificate.ts";
import { flowsOf, workloads } from "../../components/flows.ts";
import { ControllerIngress } from "../../components/ingressController.ts";
import { rulesOf } from "../../components/networkPolicies.ts";
import { serviceParts } from "../../components/podDefaults.ts";
import { at, ofType, register, type Registered } from "./mocks.ts";

const pem =
  "-----BEGIN CERTIFICATE-----\na\n-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\nb\n-----END CERTIFICATE-----\n" +
  "-----BEGIN EC PRIVATE KEY-----\nhidden\n-----END EC PRIVATE KEY-----\n";
const endpoint = (name: string) => ({ host: `${name}.app.svc.cluster.local`, port: 80 });
const hosts = ["api.example.com", "api.example.org"];

function controllerIngress(
  value?: string,
  certificate?: CertificateSource,
  served: readonly string[] = hosts,
): Promise<Registered[]> {
  return register(() => {
    new ControllerIngress("edge", {
      controller: { ingressClass: "shared", tlsSecretName: "edge-tls" },
      ...(certificate && { certificate }),
      hosts: served,
      encrypted: true,
      upstreams: { apiV1: endpoint("app"), apiV2: endpoint("next"), app: endpoint("app") },
      limits: { requestsPerSecond: 20, burst: 40, signInPerMinute: 5, connectionsPerAddress: 50 },
      tlsBundle: { name: "edge-tls", ...(value !== undefined && { value: pulumi.output(value) }) },
    });
  });
}

/** What the controller's documentation says of its annotations: which there are, and which a minion may not have. */
const known = [
  ...["mergeable-ingress-type", "redirect-to-https", "server-tokens", "hsts", "hsts-max-age", "rewrites"],
  ...["client-max-body-size", "proxy-connect-timeout", "proxy-read-timeout", "proxy-send-timeout"],
  ...[
    "proxy-buffering",
    "websocket-services",
    "ssl-services",
    "limit-req-rate",
    "limit-req-key",
    "limit-req-zone-size",
  ],
  ...["limit-req-burst", "limit-req-no-delay", "limit-req-reject-code"],
];
const mastersOnly = ["redirect-to-https", "server-tokens", "hsts", "hsts-max-age"];
const minionsOnly = ["rewrites", "websocket-services", "ssl-services"];

interface Path {
  path: string;
  pathType: string;
  backend: { service: { name: string; port: { number: number } } };
}

describe("the Ingress objects", () => {
  let ingresses: Registered[];
  const one = (part: string): Registered | undefined =>
    ingresses.find(({ name }) => name === `edge-api-example-com-${part}`);
  const annotations = (ingress?: Registered): Record<string, string> =>
    at(ingress, "metadata.annotations") as Record<string, string>;
  const paths = (ingress?: Registered): Path[] => (at(ingress, "spec.rules.0.http.paths") ?? []) as Path[];
  beforeAll(async () => {
    ingresses = ofType(await controllerIngress(pem), "networking.k8s.io/v1:Ingress");
  });

  test("are, for each host, one master with name and certificate, and minions with the paths", () => {
    for (const host of hosts) {
      const ofHost = ingresses.filter((ingress) => at(ingress, "spec.rules.0.host") === host);
      const types = ofHost.map((ingress) => annotations(ingress)["nginx.org/mergeable-ingress-type"]);
      expect(types).toEqual(["master", "minion", "minion", "minion", "minion"]);
      expect(at(ofHost[0], "spec.tls")).toEqual([{ hosts: [host], secretName: "edge-tls" }]);
      expect(paths(ofHost[0])).toEqual([]);
      for (const minion of ofHost.slice(1)) {
        expect(at(minion, "spec.tls")).toBeUndefined();
        expect(paths(minion)).not.toEqual([]);
      }
    }
    for (const ingress of ingresses) {
      expect(at(ingress, "spec.ingressClassName")).toBe("shared");
      expect(at(ingress, "metadata.namespace")).toBe("app");
    }
  });

  test("say nothing that the controller does not know, and nothing in the wrong place", () => {
    for (const ingress of ingresses) {
      const {
        "nginx.org/mergeable-ingress-type": type,
        "pulumi.com/skipAwait": unawaited,
        ...rest
      } = annotations(ingress);
      // Or an `up` would wait for an address that many controllers do not report.
      expect(unawaited).toBe("true");
      const names = Object.keys(rest).map((name) => name.replace(/^nginx\.org\//, ""));
      expect(known).toEqual(expect.arrayContaining(names));
      const forbidden = type === "master" ? minionsOnly : mastersOnly;
      expect(names.filter((name) => forbidden.includes(name))).toEqual([]);
    }
  });

  test("send each version of the API to its own service, and let nothing else through", () => {
    const all = ingresses
      .filter((ingress) => at(ingress, "spec.rules.0.host") === hosts[0])
      .flatMap((ingress) => paths(ingress));
    expect(new Set(all.map(({ path }) => path)).size).toBe(all.length);
    for (const { path, pathType, backend } of all) {
      expect(backend.service).toEqual({
        name: path.startsWith("/api/v2") ? "next" : "app",
        port: { number: 80 },
      });
      if (!["/api/v1", "/api/v2", "/api/v2/chat"].includes(path)) expect(pathType).toBe("Exact");
    }
    expect(all.map(({ path }) => path)).toEqual(
      expect.arrayContaining(["/ready", "/api/health", "/api/v1", "/api/v2", "/api/v1/auth/login"]),
    );
    expect(all.map(({ path }) => path)).not.toEqual(
      expect.arrayContaining([expect.stringMatching(/^\/(metrics|health)?$/)]),
    );
  });

  test("name as Services of TLS just those that their own paths lead to, as others would be refused", () => {
    for (const ingress of ingresses) {
      const named = annotations(ingress)["nginx.org/ssl-services"]?.split(",") ?? [];
      const led = new Set(paths(ingress).map(({ backend }) => backend.service.name));
      expect(named.sort(), ingress.name).toEqual([...led].sort());
    }
  });

  test("limit each address, sign-ins more strictly, and answer 429 beyond", () => {
    const limited = {
      "nginx.org/limit-req-key": "${binary_remote_addr}",
      "nginx.org/limit-req-reject-code": "429",
    };
    const usual = { ...limited, "nginx.org/limit-req-rate": "20r/s", "nginx.org/limit-req-burst": "40" };
    for (const part of ["api", "health", "chat"]) expect(annotations(one(part)), part).toMatchObject(usual);
    expect(annotations(one("sign-in"))).toMatchObject({
      ...limited,
      "nginx.org/limit-req-rate": "5r/m",
      "nginx.org/limit-req-burst": "4",
    });
  });

  test("stream the chat, by WebSocket too, and find the app's health under its public path", () => {
    expect(annotations(one("chat"))).toMatchObject({
      "nginx.org/proxy-buffering": "False",
      "nginx.org/proxy-read-timeout": "15m",
      "nginx.org/websocket-services": "next",
    });
    expect(annotations(one("api"))).not.toHaveProperty(["nginx.org/proxy-buffering"]);
    expect(annotations(one("api"))["nginx.org/proxy-read-timeout"]).toBe("75s");
    expect(annotations(one("health"))["nginx.org/rewrites"]).toBe("serviceName=app rewrite=/health");
  });

  test("redirect to https and keep browsers there", () => {
    expect(annotations(one("master"))).toMatchObject({
      "nginx.org/redirect-to-https": "True",
      "nginx.org/hsts": "True",
      "nginx.org/hsts-max-age": "63072000",
    });
  });
});

describe("the certificate", () => {
  test("is put beside the app, chain and key apart, where the stack has one", async () => {
    const [secret] = ofType(await controllerIngress(pem), "core/v1:Secret");
    expect(at(secret, "type")).toBe("kubernetes.io/tls");
    expect(at(secret, "metadata")).toMatchObject({ name: "edge-tls", namespace: "app" });
    const { "tls.crt": chain, "tls.key": key } = at(secret, "stringData") as Record<string, string>;
    expect(chain?.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
    expect(chain).not.toContain("PRIVATE");
    expect(key).toMatch(/^-----BEGIN EC PRIVATE KEY-----\nhidden\n/);
  });

  test.each([
    ["ClusterIssuer", "cluster-issuer"],
    ["Issuer", "issuer"],
  ] as const)("is left to cert-manager's %s where that is to make it", async (kind, annotation) => {
    const issuer = { kind, name: "letsencrypt" };
    const resources = await controllerIngress(undefined, { from: "certManager", issuer });
    expect(ofType(resources, "core/v1:Secret")).toEqual([]);
    const masters = resources.filter(({ name }) => name.endsWith("-master"));
    expect(masters).toHaveLength(2);
    for (const master of masters)
      expect(at(master, "metadata.annotations")).toHaveProperty(
        [`cert-manager.io/${annotation}`],
        "letsencrypt",
      );
  });

  test("of each host is in a Secret of its own where cert-manager makes it, as one Ingress owns one Certificate", async () => {
    const issuer = { kind: "Issuer", name: "letsencrypt" } as const;
    const tls = async (served: readonly string[], certificate?: CertificateSource) =>
      (await controllerIngress(undefined, certificate, served)).flatMap((one) => at(one, "spec.tls") ?? []);
    const ofFirst = { hosts: ["api.example.com"], secretName: "edge-tls" };
    const ofSecond = { hosts: ["api.example.org"], secretName: "edge-tls-api.example.org" };
    expect(await tls(hosts, { from: "certManager", issuer })).toEqual([ofFirst, ofSecond]);
    expect(await tls(hosts.slice(0, 1), { from: "certManager", issuer })).toEqual([ofFirst]);
    expect(await tls(hosts)).toEqual([ofFirst, { ...ofSecond, secretName: "edge-tls" }]);
  });

  test("is a person's to put there where it is neither", async () => {
    const resources = await controllerIngress();
    expect(ofType(resources, "core/v1:Secret")).toEqual([]);
    expect(JSON.stringify(resources)).not.toContain("cert-manager.io");
  });
});

test("an upstream outside the cluster is refused, as an Ingress cannot name it", () => {
  expect(() => serviceParts("api.example.com")).toThrow('"api.example.com" is no Service of this cluster');
  expect(serviceParts("app.blue.svc.cluster.local")).toEqual({ name: "app", namespace: "blue" });
});

describe("a stack in the controller's mode", () => {
  const { app, monitoring } = {
    app: { egressPorts: [] as number[], container: { port: 8888, metricsPort: 9464 } },
    monitoring: { notifications: {} },
  } as Parameters<typeof flowsOf>[0];
  const flows = (mode: "nginx" | "controller") => {
    const edge = { mode } as Parameters<typeof flowsOf>[0]["edge"];
    return flowsOf({ app, monitoring, edge, secrets: { store: "kubernetes" } });
  };

  test("lets the controller's namespace reach every version of the app, and nothing of an edge that is not there", () => {
    const args = {
      workloads,
      flows: flows("controller"),
      apiServerCidrs: [],
      cilium: false,
      others: { ingressController: "shared-ingress" },
    };
    for (const version of ["app", "app-candidate"] as const)
      expect(rulesOf(version, args).ingress).toContainEqual({
        from: [{ namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "shared-ingress" } } }],
        ports: [{ protocol: "TCP", port: 8888 }],
      });
    expect(rulesOf("edge", args)).toEqual({ ingress: [], egress: [] });
    expect(rulesOf("blackbox", args).egress).toEqual([
      { to: [{ ipBlock: { cidr: "0.0.0.0/0" } }], ports: [{ protocol: "TCP", port: 443 }] },
    ]);
    expect(flows("nginx").map(({ from }) => from)).not.toContain("ingressController");
  });

  test("needs neither a certificate nor images of nginx; mistakes are named", () => {
    const problems = (edge: object, secrets: Record<string, string> = {}) =>
      readConfig(
        { "groundwork:edge": JSON.stringify(edge), "groundwork:secrets": "{}", ...secrets },
        new Set(Object.keys(secrets)),
      ).problems.join("\n");
    expect(problems({})).toContain("groundwork:tlsBundle: missing");
    expect(problems({ mode: "controller" })).not.toContain("tlsBundle");
    expect(problems({ mode: "controller", controller: { namespace: "No Name" } })).toMatch(
      /edge\.controller\.namespace: must be a Kubernetes name such as my-name \(found "No Name"\)/,
    );
    expect(problems({ mode: "ingress" })).toContain("groundwork:edge.mode");
    expect(problems({ mode: "controller", hosts: ["192.0.2.1"] })).toContain("an Ingress has names only");
    const bundle = { "groundwork:tlsBundle": pem };
    const certificate = { from: "certManager", issuer: { name: "x" } };
    expect(problems({ mode: "controller", certificate }, bundle)).toContain("tlsBundle: has no effect");
    expect(problems({ mode: "controller", certificate })).not.toContain("certificate");
    expect(problems({ mode: "controller", certificate: { from: "keyVault", name: "api" } })).toContain(
      "groundwork:edge.certificate.from: a controller reads Secrets, no vault",
    );
  });
});
