/** `make check-config`, piece by piece: each against a server that answers as the real one does, and as it does when something is wrong. */
import { createServer, type RequestListener, type Server, type ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KubeConfig } from "@kubernetes/client-node";
import { afterEach, describe, expect, test, vi } from "vitest";
import { azureSchema } from "../../components/azure/schema.ts";
import { checkNewCluster } from "../../local/check/aks.ts";
import { resourceProviders } from "../../local/bootstrapAzure.ts";
import { checkSubscription, checkVault, missingActions, type Azure } from "../../local/check/azure.ts";
import { checkCluster, dependencies, findContext, mountedVault } from "../../local/check/cluster.ts";
import { leftExamples } from "../../local/check/examples.ts";
import { checkHost } from "../../local/check/host.ts";
import { failed, ok, skipped, table, type Finding } from "../../local/check/findings.ts";
import { onCluster } from "../../local/check/main.ts";
import { checkImages, parseReference } from "../../local/check/registry.ts";
import { stackSettings } from "../../local/stackValues.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

/** A server on loopback; gives its `host:port`. */
function serve(answer: RequestListener | Server): Promise<string> {
  const server = typeof answer === "function" ? createServer(answer) : answer;
  servers.push(server);
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      resolve(`127.0.0.1:${(server.address() as AddressInfo).port}`);
    });
  });
}

/** The same over TLS, with a certificate that nobody vouches for. */
function secure(answer: RequestListener): Server {
  const directory = mkdtempSync(join(tmpdir(), "groundwork-check-"));
  const [key, cert] = [join(directory, "key.pem"), join(directory, "cert.pem")];
  const request = [
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-days",
    "2",
  ];
  execFileSync("openssl", [...request, "-subj", "/CN=localhost", "-keyout", key, "-out", cert], {
    stdio: "ignore",
  });
  return createSecureServer({ key: readFileSync(key), cert: readFileSync(cert) }, answer);
}

const json = (response: ServerResponse, status: number, body: unknown): void => {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
};

const states = (findings: readonly Finding[]): string[] =>
  findings.map(({ check, state }) => `${check}: ${state}`);

test("a stack is looked at as it is committed, whatever a preview on this machine left; dev as this machine has it", async () => {
  const cache = mkdtempSync(join(tmpdir(), "groundwork-check-"));
  vi.stubEnv("GROUNDWORK_CACHE", cache);
  const project = join(cache, "state", "project");
  mkdirSync(project, { recursive: true });
  for (const stack of ["dev", "prod"])
    writeFileSync(
      join(project, `Pulumi.${stack}.yaml`),
      'config: { "groundwork:cluster": { context: mine } }',
    );
  const [dev, prod] = await Promise.all(["dev", "prod"].map((stack) => stackSettings(stack, false)));
  vi.unstubAllEnvs();
  expect(dev?.config["groundwork:cluster"]).toContain("mine");
  expect(JSON.stringify(prod?.config)).not.toContain("mine");
});

describe("registries", () => {
  const digest = `sha256:${"a".repeat(64)}`;
  /** Gives anybody a token for `public`, and `user` one for `private`. */
  const registry = () =>
    serve((request, response) => {
      const url = new URL(request.url ?? "", "http://localhost");
      const { authorization = "" } = request.headers;
      if (url.pathname === "/token") {
        const name = /repository:(\w+)/.exec(url.searchParams.get("scope") ?? "")?.[1] ?? "";
        const allowed = name !== "private" || authorization === `Basic ${btoa("user:pass")}`;
        json(response, allowed ? 200 : 401, { token: `for-${name}` });
        return;
      }
      const [, , name = ""] = url.pathname.split("/");
      if (authorization !== `Bearer for-${name}`) {
        const challenge = `Bearer realm="http://${request.headers.host}/token",service="r",scope="repository:${name}:pull"`;
        response.writeHead(401, { "www-authenticate": challenge }).end();
        return;
      }
      response.writeHead(url.pathname.endsWith(digest) ? 200 : 404).end();
    });

  test("have public images for anybody, private ones for who may pull them", async () => {
    const host = await registry();
    const images = ["public", "private"].map((name) => ({ name, reference: `${host}/${name}@${digest}` }));
    const [without] = await checkImages(images, {});
    expect(without).toMatchObject({ state: "failed", found: "private: not allowed to pull private" });
    const [signedIn] = await checkImages(images, { auths: { [host]: { auth: btoa("user:pass") } } });
    expect(signedIn).toMatchObject({ state: "ok", found: "2 image(s) found" });
  });

  test("that lack an image, or are not there, are named with the image", async () => {
    const host = await registry();
    const [missing] = await checkImages([{ name: "app", reference: `${host}/public:none` }], {});
    expect(missing).toMatchObject({ state: "failed", found: "app: public has no none" });
    const [gone] = await checkImages([{ name: "app", reference: "127.0.0.1:1/app:1" }], {});
    expect(gone?.found).toMatch(/^app: the registry cannot be reached/);
    expect(gone?.mend).toContain("groundwork:images");
  });

  test("are not asked for images of this machine", async () => {
    expect(states(await checkImages([{ name: "app", reference: "groundwork/app:1" }], {}))).toEqual([
      "images: skipped",
    ]);
  });

  test.each([
    [
      "docker.io/library/redis:8@sha256:ab",
      { registry: "docker.io", repository: "library/redis", version: "sha256:ab" },
    ],
    ["localhost:5000/app", { registry: "localhost:5000", repository: "app", version: "latest" }],
    ["groundwork/app:1", undefined],
    ["redis", undefined],
  ])("are read out of %s", (reference, parsed) => {
    expect(parseReference(reference)).toEqual(parsed);
  });
});

describe("Azure", () => {
  const target = { subscriptionId: "sub", location: "japaneast" };
  const azure = (host: string): Azure => ({
    token: () => Promise.resolve("token"),
    management: `http://${host}`,
    vault: () => `http://${host}`,
  });
  const registered = resourceProviders.map((namespace) => ({
    namespace: namespace.toLowerCase(),
    registrationState: "Registered",
  }));
  const management = (permissions: unknown, providers: unknown = registered) =>
    serve(({ url = "" }, response) => {
      if (url.includes("/locations")) json(response, 200, { value: [{ name: "japaneast" }] });
      else if (url.includes("/providers?")) json(response, 200, { value: providers });
      else json(response, 200, { value: permissions });
    });

  test("lets an owner do everything, in a region of the subscription", async () => {
    const host = await management([
      { actions: ["*"], notActions: [] },
      { dataActions: ["Microsoft.KeyVault/vaults/secrets/*"] },
    ]);
    expect(states(await checkSubscription(azure(host), target))).toEqual([
      "Azure subscription: ok",
      "Azure permissions: ok",
      "Azure permissions on secrets: ok",
      "Azure resource providers: ok",
      "Azure region: ok",
    ]);
  });

  test("tells an owner that deleting a secret is no action on a subscription, but one on data", async () => {
    const host = await management([{ actions: ["*"] }]);
    expect(await checkSubscription(azure(host), target)).toContainEqual({
      check: "Azure permissions on secrets",
      state: "skipped",
      found: expect.stringContaining("Key Vault Secrets Officer") as string,
    });
  });

  test("tells a contributor that the right to grant roles is missing, and who names no region so", async () => {
    const host = await management([{ actions: ["*"], notActions: ["Microsoft.Authorization/*/Write"] }]);
    const found = await checkSubscription(azure(host), { ...target, location: "japan" });
    expect(found).toMatchObject([
      { state: "ok" },
      { state: "failed", found: "missing: Microsoft.Authorization/roleAssignments/write" },
      { state: "skipped" },
      { state: "ok" },
      { state: "failed", found: '"japan" is none of this subscription' },
    ]);
  });

  test("names the kinds of resources that a new subscription does not know, which the up would fail at", async () => {
    const providers = registered.map((one) =>
      /insights$/.test(one.namespace) ? { ...one, registrationState: "NotRegistered" } : one,
    );
    const found = await checkSubscription(azure(await management([], providers)), target);
    expect(found).toContainEqual(
      failed(
        "Azure resource providers",
        "not registered: Microsoft.Insights, Microsoft.OperationalInsights",
        "for each: az provider register --wait --namespace …",
      ),
    );
  });

  test("says what to do when nobody is signed in, or nothing answers", async () => {
    const signedOut = {
      ...azure("127.0.0.1:1"),
      token: () => Promise.reject(new Error("Please run 'az login'")),
    };
    expect(await checkSubscription(signedOut, target)).toMatchObject([
      { mend: "install az, then: az login" },
    ]);
    expect(await checkSubscription(azure("127.0.0.1:1"), target)).toMatchObject([
      { state: "failed", found: expect.stringMatching(/^Azure cannot be reached/) as string },
    ]);
  });

  test("reads permissions as Azure does: stars, any case, exceptions, several roles together", () => {
    const wanted = ["Microsoft.KeyVault/vaults/write"];
    expect(missingActions([{ actions: ["microsoft.keyvault/*"] }], wanted)).toEqual([]);
    expect(missingActions([{ actions: ["Microsoft.KeyVault/vaults/read"] }], wanted)).toEqual(wanted);
    expect(missingActions([{ actions: ["*"], notActions: ["*/write"] }], wanted)).toEqual(wanted);
    expect(
      missingActions([{ actions: ["*"], notActions: ["*/write"] }, { actions: ["*/vaults/write"] }], wanted),
    ).toEqual([]);
  });

  test("says of a vault whether a secret can be read, and otherwise what bars the way", async () => {
    const vault = await serve(({ url = "", headers }, response) => {
      if (headers.authorization !== "Bearer token") json(response, 401, {});
      else if (url.startsWith("/secrets/there?")) json(response, 200, { value: "x" });
      else if (url.startsWith("/secrets/barred?"))
        json(response, 403, { error: { code: "Forbidden", innererror: { code: "ForbiddenByFirewall" } } });
      else json(response, 404, { error: { code: "SecretNotFound" } });
    });
    expect(await checkVault(azure(vault), "v", "there")).toMatchObject({ state: "ok" });
    expect((await checkVault(azure(vault), "v", "barred")).mend).toContain("groundwork:azure.allowlist");
    expect((await checkVault(azure(vault), "v", "none")).mend).toContain(
      "az keyvault secret set --vault-name v",
    );
    expect(await checkVault(azure("127.0.0.1:1"), "v", "there")).toMatchObject({ state: "failed" });
  });
});

describe("a cluster that the first up will make", () => {
  const guid = "00000000-0000-0000-0000-000000000000";
  const { aks } = azureSchema.parse({ subscriptionId: guid, tenantId: guid, location: "japaneast" });
  const cluster = { subscriptionId: "sub", location: "japaneast", aks, name: "groundwork-prod" };
  const size = (name: string, vCPUs: string, more: object = {}) => ({
    name,
    family: "standardDSv5Family",
    capabilities: [{ name: "vCPUs", value: vCPUs }],
    ...more,
  });
  const usage = (value: string, currentValue: number, limit: number) => ({
    name: { value },
    currentValue,
    limit,
  });
  const official = { supportPlan: ["KubernetesOfficial", "AKSLongTermSupport"] };
  const versions = [
    { version: "1.33", capabilities: { supportPlan: ["AKSLongTermSupport"] } },
    { version: "1.36", capabilities: official },
    { version: "1.35", capabilities: official },
    { version: "1.37", capabilities: official, isPreview: true },
  ];
  const answers = {
    managedClusters: { value: [{ properties: { dnsPrefix: "groundwork-staging" } }] },
    kubernetesVersions: { values: versions },
    skus: { value: [size("Standard_D2s_v5", "2"), size("standard_d4s_v5", "4")] },
    usages: { value: [usage("cores", 0, 100), usage("StandardDSv5Family", 10, 28)] },
  };
  /** What is found where Azure answers so: 3 × 2 cores for the system, and 3 × 4 for the rest. */
  const found = async (change: Partial<Record<keyof typeof answers, unknown>> = {}, of: object = {}) => {
    const host = await serve(({ url = "" }, response) => {
      const path = new URL(url, "http://localhost").pathname.split("/").at(-1) ?? "";
      const answer = { ...answers, ...change }[path as keyof typeof answers];
      json(response, answer === undefined ? 403 : 200, answer ?? {});
    });
    const azure: Azure = {
      token: () => Promise.resolve("token"),
      management: `http://${host}`,
      vault: () => "",
    };
    return checkNewCluster(azure, { ...cluster, ...of });
  };

  test("has a version that is supported, and cores for its first nodes", async () => {
    const findings = await found();
    expect(states(findings)).toEqual(["AKS version: ok", "vCPUs standardDSv5Family: ok", "vCPUs cores: ok"]);
    expect(findings[1]?.found).toBe("18 to begin with, 46 at most; 18 of 28 are free");
  });

  test("is told which versions there are, but those in preview and those for money only", async () => {
    const [version] = await found({}, { aks: { ...aks, kubernetesVersion: "1.33" } });
    expect(version).toEqual(
      failed(
        "AKS version",
        "1.33 is not supported in japaneast",
        "set groundwork:azure.aks.kubernetesVersion to one of: 1.35, 1.36",
      ),
    );
  });

  test("is told how many cores are missing, of a family or of the region, and where to ask for them", async () => {
    const usages = { value: [usage("cores", 0, 10), usage("standardDSv5Family", 11, 28)] };
    const [, family, region] = await found({ usages });
    expect(family).toMatchObject({
      state: "failed",
      found: "18 to begin with; 17 of 28 are free in japaneast",
    });
    expect(family?.mend).toContain("Quotas");
    expect(region).toMatchObject({ state: "failed", check: "vCPUs cores" });
  });

  test("is told which sizes its subscription is not offered", async () => {
    const barred = size("Standard_D4s_v5", "4", { restrictions: [{ type: "Location" }] });
    const [, first, second] = await found({ skus: { value: [barred] } });
    for (const [finding, key] of [
      [first, "systemPool"],
      [second, "userPool"],
    ] as const) {
      expect(finding?.state).toBe("failed");
      expect(finding?.mend).toContain(`groundwork:azure.aks.${key}.vmSize`);
    }
  });

  test("is asked for nothing once it is there, and nobody is told anything where Azure does not say", async () => {
    const managedClusters = { value: [{ properties: { dnsPrefix: "groundwork-prod" } }] };
    expect(await found({ managedClusters, usages: undefined })).toEqual([
      ok("AKS", "groundwork-prod is there"),
    ]);
    expect(states(await found({ usages: undefined }))).toEqual(["AKS: skipped"]);
  });
});

test("a host that does not resolve is not wrong before the stack has made its record", async () => {
  expect(await checkHost("api.groundwork.invalid")).toMatchObject({ state: "failed" });
  const later = await checkHost("api.groundwork.invalid", "groundwork.invalid");
  expect(later).toMatchObject({ state: "skipped", found: expect.stringContaining("first up") as string });
  expect(await checkHost("localhost")).toMatchObject({ state: "ok" });
});

describe("the cluster", () => {
  const kubeconfig = (server: string): string => {
    const file = join(mkdtempSync(join(tmpdir(), "groundwork-check-")), "config");
    const config = new KubeConfig();
    config.loadFromClusterAndUser({ name: "prod", server, skipTLSVerify: true }, { name: "me", token: "t" });
    const [context] = config.getContexts();
    writeFileSync(file, config.exportConfig());
    expect(context?.name).toBe("loaded-context");
    return file;
  };
  const objects =
    "array:\n  - |\n    objectName: app-user-password\n    objectType: secret\n  - |\n    objectName: jwt-keys";
  /** The client speaks to API servers over TLS only. */
  const cluster = (allowed: boolean) =>
    serve(
      secure(({ url = "" }, response) => {
        if (url.startsWith("/version")) json(response, 200, { gitVersion: "v1.33.1" });
        else if (url.endsWith("/secretproviderclasses/app-secrets"))
          json(response, 200, { spec: { parameters: { keyvaultName: "vault-1", objects } } });
        else if (url.includes("selfsubjectaccessreviews"))
          json(response, 201, { spec: {}, status: { allowed } });
        else json(response, 200, { issuer: "https://issuer.example.com/" });
      }),
    );
  const connect = async (allowed: boolean): Promise<KubeConfig> => {
    const found = findContext(kubeconfig(`https://${await cluster(allowed)}`), "loaded-context");
    if (!(found instanceof KubeConfig)) throw new Error(found.found);
    return found;
  };

  test("is found by its context; another name is answered with those that there are", () => {
    const file = kubeconfig("http://127.0.0.1:1");
    expect(findContext(file, "loaded-context")).toBeInstanceOf(KubeConfig);
    expect(findContext(file, "prod")).toMatchObject({
      mend: expect.stringContaining("loaded-context") as string,
    });
    expect(findContext("/nowhere", "prod")).toMatchObject({ state: "failed", check: "kubeconfig" });
  });

  test("that the stack makes is the one that the operator names, and skipped while there is none to name", async () => {
    const { cluster: none, secrets } = { cluster: {}, secrets: { store: "kubernetes" } } as Parameters<
      typeof onCluster
    >[0];
    vi.stubEnv("CONTEXT", "");
    expect(states(await onCluster({ cluster: none, secrets }))).toEqual(["cluster: skipped"]);
    vi.stubEnv("CONTEXT", "loaded-context");
    vi.stubEnv("KUBECONFIG", kubeconfig("https://127.0.0.1:1"));
    expect(states(await onCluster({ cluster: none, secrets }))).toEqual(["cluster loaded-context: failed"]);
  });

  test("tells the vault, and a secret of it that is there because the app mounts it", async () => {
    expect(await mountedVault(await connect(true))).toEqual({ name: "vault-1", secret: "app-user-password" });
  });

  test("answers, lets one work, and is the one that Azure knows", async () => {
    expect(states(await checkCluster(await connect(true), "https://issuer.example.com/"))).toEqual([
      "cluster loaded-context: ok",
      "cluster rights: ok",
      "OIDC issuer: ok",
    ]);
  });

  test("that is another, or lets one do nothing, is told from it", async () => {
    const found = await checkCluster(await connect(false), "https://other.example.com/");
    expect(states(found).slice(1)).toEqual(["cluster rights: failed", "OIDC issuer: failed"]);
    expect(found[1]?.found).toContain("create namespaces");
  });

  test("that does not answer is said so", async () => {
    const found = findContext(kubeconfig("https://127.0.0.1:1"), "loaded-context");
    expect(found instanceof KubeConfig && states(await checkCluster(found))).toEqual([
      "cluster loaded-context: failed",
    ]);
  });

  test("connections are those that the app reports; one that is down fails", () => {
    const up = { state: "up", latencyMs: 1 };
    const all = {
      postgres: up,
      redis_queue: up,
      redis_cache: { state: "degraded", latencyMs: 9 },
      migrations: up,
    };
    expect(states(dependencies({ dependencies: all }))).toEqual([
      "connection to postgres: ok",
      "connection to redis_queue: ok",
      "connection to redis_cache: failed",
    ]);
    expect(states(dependencies({}))).toEqual(["connections: failed"]);
  });
});

test("example values are found wherever they stand, real ones are not", () => {
  const found = leftExamples({
    "groundwork:edge": '{"hosts":["api.example.com","api.groundwork.dev"]}',
    "groundwork:backups": `{"ageRecipient":"age1${"q".repeat(58)}"}`,
    "groundwork:images": `{"app":"acme.azurecr.io/app@sha256:${"0".repeat(64)}"}`,
    "groundwork:environment": "production",
  });
  expect(found.map(({ found: text }) => text.split(":").slice(0, 2).join(":"))).toEqual([
    "groundwork:edge.hosts.0",
    "groundwork:backups.ageRecipient",
    "groundwork:images.app",
  ]);
});

test("the table puts failures last, each with what mends it", () => {
  const text = table([
    failed("dns", "no name", "make one"),
    ok("cluster", "answers"),
    skipped("vault", "later"),
  ]);
  expect(text.split("\n").map((line) => line.trim().split(/ {2,}/))).toEqual([
    ["vault", "skipped  later".split("  ")[0], "later"],
    ["cluster", "ok", "answers"],
    ["dns", "failed", "no name"],
    ["mend: make one"],
    [""],
  ]);
});
