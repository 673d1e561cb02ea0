/** The prober as the image runs it, before an edge and a vault that answer as they are told. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import * as https from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { json } from "node:stream/consumers";

import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";

import { proberSettings } from "../../components/monitoring/prober.ts";
import { stackSchema } from "../../components/configSchema.ts";
import { KubernetesSecretStore } from "../../components/secrets/kubernetesSecretStore.ts";
import { register } from "./mocks.ts";
import { startProber, type RunningProber } from "./proberProgram.ts";

const folder = mkdtempSync(join(tmpdir(), "groundwork-prober-"));
const file = (name: string): string => join(folder, name);
const asked: { line: string; host: unknown; token: unknown; body: unknown }[] = [];
/** Status of each step; without one it is not answered at all. */
let statuses: Record<string, number | undefined>;
const tokens = { accessToken: "access", refreshToken: "refresh" };
let granted: object;
const well = { "/api/v2/auth/sign-in": 200, "/api/v1/documents?limit=1": 200, "/api/v2/auth/sign-out": 204 };
let edge: https.Server;
let vault: https.Server;
let vaultStatus = 401;
let prober: RunningProber;

beforeAll(async () => {
  const names = ["-subj", "/CN=api", "-addext", "subjectAltName=DNS:api.example.com,IP:127.0.0.1"];
  const made = ["-keyout", file("key.pem"), "-out", file("ca.pem")];
  const kind = [
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-noenc",
    "-days",
    "2",
  ];
  execFileSync("openssl", [...kind, ...names, ...made], { stdio: "pipe" });
  writeFileSync(file("password"), "a password of the probe\n");
  const tls = { cert: readFileSync(file("ca.pem")), key: readFileSync(file("key.pem")) };
  edge = https.createServer(tls, (request, response) => {
    const status = statuses[request.url ?? ""];
    if (status === undefined) return;
    const body = request.method === "POST" ? json(request) : Promise.resolve(undefined);
    void body.then((content) => {
      const { method, url, headers } = request;
      asked.push({
        line: `${method ?? ""} ${url ?? ""}`,
        host: headers.host,
        token: headers.authorization,
        body: content,
      });
      response.writeHead(status).end(JSON.stringify(granted));
    });
  });
  await once(edge.listen(0, "127.0.0.1"), "listening");
  vault = https.createServer(tls, ({ url }, response) => {
    response.writeHead(url === "/secrets?api-version=7.4" ? vaultStatus : 404).end("{}");
  });
  await once(vault.listen(0, "127.0.0.1"), "listening");
  statuses = well;
  granted = tokens;
  prober = await startProber({
    VAULT_URL: `https://127.0.0.1:${(vault.address() as AddressInfo).port}`,
    SSL_CERT_FILE: file("ca.pem"),
    PROBE_ADDRESS: `127.0.0.1:${(edge.address() as AddressInfo).port}`,
    PROBE_HOST: "api.example.com",
    PROBE_CA_FILE: file("ca.pem"),
    PROBE_PASSWORD_FILE: file("password"),
    INTERNAL_SERVERS: "[]",
    INTERNAL_CA_FILE: file("ca.pem"),
  });
});
beforeEach(() => {
  statuses = well;
  granted = tokens;
});
afterAll(async () => {
  await prober.stop();
  for (const server of [edge, vault]) {
    server.closeAllConnections();
    server.close();
  }
  rmSync(folder, { recursive: true });
});

const success = async (): Promise<string | undefined> => {
  return /^probe_success\{probe="sign-in"\} (\d)$/m.exec(await prober.metrics())?.[1];
};
const becomes = (value: string) => expect.poll(success, { timeout: 10_000 }).toBe(value);
/** What is logged from a place on. The lines come by a pipe of their own: the figure may be there before them. */
const says = (from: number, lines: object[]) =>
  expect
    .poll(
      () =>
        prober
          .said()
          .slice(from)
          .split("\n")
          .flatMap((line) => (line === "" ? [] : [JSON.parse(line) as object])),
      { timeout: 10_000 },
    )
    .toMatchObject(lines);

test("signs in, reads with the token that it got, and signs out, by the public name", async () => {
  await becomes("1");
  expect(asked.slice(0, 3)).toEqual([
    {
      line: "POST /api/v2/auth/sign-in",
      host: "api.example.com",
      token: undefined,
      body: { tenant: "probe", username: "probe", password: "a password of the probe" },
    },
    {
      line: "GET /api/v1/documents?limit=1",
      host: "api.example.com",
      token: "Bearer access",
      body: undefined,
    },
    {
      line: "POST /api/v2/auth/sign-out",
      host: "api.example.com",
      token: undefined,
      body: { refreshToken: "refresh" },
    },
  ]);
});

test.each([
  ["POST /api/v2/auth/sign-in: 401", { "/api/v2/auth/sign-in": 401 }],
  ["GET /api/v1/documents?limit=1: 503", { "/api/v1/documents?limit=1": 503 }],
])("fails with %s, says so once, and is well again afterwards", async (reason, changed) => {
  await becomes("1");
  const before = prober.said().length;
  statuses = { ...well, ...changed };
  const failed = { level: "error", message: reason, trace_id: null };
  await says(before, [failed]);
  await becomes("0");
  statuses = well;
  await says(before, [failed, { level: "info" }]);
  await becomes("1");
  expect(prober.said()).not.toMatch(/password of|access/);
});

test("an answer of another form is a failure, and the rounds go on", async () => {
  await becomes("1");
  granted = [];
  await becomes("0");
  await expect.poll(prober.said).toContain('"TypeError"');
  granted = tokens;
  await becomes("1");
});

test("an answer that does not come is a failure", async () => {
  await becomes("1");
  statuses = {};
  await becomes("0");
});

test("says whether the vault answers, and why it does not", { timeout: 30_000 }, async () => {
  const vaultUp = async () => /^groundwork_vault_up (\d)$/m.exec(await prober.metrics())?.[1];
  await expect.poll(vaultUp, { timeout: 10_000 }).toBe("1");
  const said = (text: string) => expect.poll(prober.said, { timeout: 10_000 }).toContain(text);
  vaultStatus = 403;
  await expect.poll(vaultUp, { timeout: 10_000 }).toBe("0");
  await said("it answered 403 where a token is asked for by 401");
  vault.closeAllConnections();
  vault.close();
  await said("Connection refused");
  expect(await vaultUp()).toBe("0");
});

test("asks no more often than the edge lets one address sign in, and signs in to no other app", async () => {
  const settings = (section: object) => {
    const values = {
      app: stackSchema.shape.app.parse(section),
      edge: stackSchema.shape.edge.parse({ limits: { signInPerMinute: 2 } }),
    };
    let made: ReturnType<typeof proberSettings> | undefined;
    return register(() => {
      made = proberSettings(values, new KubernetesSecretStore("secrets"), "image");
    }).then(() => made);
  };
  expect((await settings({}))?.intervalSeconds).toBe(31);
  expect(await settings({})).toHaveProperty("password");
  expect(await settings({ container: { command: ["./podinfo"] } })).not.toHaveProperty("password");
});
