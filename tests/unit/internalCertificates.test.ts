/** The prober as the image runs it, before servers whose certificates end. */
import { execFileSync } from "node:child_process";
import { randomUUID, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import * as net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as tls from "node:tls";

import * as pulumi from "@pulumi/pulumi";
import { afterAll, beforeAll, expect, test } from "vitest";

import { stackSchema } from "../../components/configSchema.ts";
import { flows } from "../../components/flows.ts";
import { internalServers } from "../../components/monitoring/prober.ts";
import { at, type Registered } from "./mocks.ts";
import { startProber, type RunningProber } from "./proberProgram.ts";
import { prod } from "./prodStack.ts";

const folder = mkdtempSync(join(tmpdir(), "groundwork-certificates-"));
const file = (name: string): string => join(folder, name);
const name = "server.data.svc.cluster.local";
/** By which a client of Postgres asks for TLS. */
const sslRequest = Buffer.from("0000000804d2162f", "hex");

let direct: tls.Server;
let postgres: net.Server;
let prober: RunningProber;

/** A certificate that vouches for itself; the end that it bears, as Prometheus is told it. */
function certificate(id: string, days: number): { end: number; served: { cert: Buffer; key: Buffer } } {
  const kind = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"];
  const made = ["-keyout", file(`${id}.key`), "-out", file(`${id}.pem`), "-days", String(days)];
  const names = ["-subj", `/CN=${id}`, "-addext", `subjectAltName=DNS:${name}`];
  execFileSync("openssl", [...kind, ...made, ...names], { stdio: "pipe" });
  const cert = readFileSync(file(`${id}.pem`));
  const end = new X509Certificate(cert).validToDate.getTime() / 1000;
  return { end, served: { cert, key: readFileSync(file(`${id}.key`)) } };
}
const trust = (...ids: string[]): void => {
  writeFileSync(file("ca.pem"), ids.map((id) => readFileSync(file(`${id}.pem`), "utf8")).join(""));
};
const portOf = (server: net.Server): number => (server.address() as net.AddressInfo).port;

let first: ReturnType<typeof certificate>;
beforeAll(async () => {
  first = certificate("first", 20);
  trust("first");
  direct = tls.createServer(first.served);
  postgres = net.createServer((socket) => {
    socket.once("data", (message) => {
      if (!message.equals(sslRequest)) return socket.end("N");
      socket.write("S");
      return new tls.TLSSocket(socket, { isServer: true, ...first.served }).on("error", () =>
        socket.destroy(),
      );
    });
  });
  for (const server of [direct, postgres]) await once(server.listen(0, "127.0.0.1"), "listening");
  const address = { host: "127.0.0.1", name };
  prober = await startProber({
    INTERNAL_CA_FILE: file("ca.pem"),
    INTERNAL_SERVERS: JSON.stringify([
      { certificate: "app-tls", ...address, port: portOf(direct) },
      { certificate: "postgres-tls", ...address, port: portOf(postgres), protocol: "postgres" },
    ]),
  });
});
afterAll(async () => {
  await prober.stop();
  direct.close();
  postgres.close();
  rmSync(folder, { recursive: true });
});

/** Certificate → its end. */
async function ends(): Promise<Record<string, number>> {
  const lines = (await prober.metrics()).matchAll(
    /^probe_ssl_earliest_cert_expiry\{probe="([\w-]+)"[^}]*\} (\d+)$/gm,
  );
  return Object.fromEntries([...lines].map(([, probe, moment]) => [probe ?? "", Number(moment)]));
}
const become = (expected: Record<string, number>) => expect.poll(ends, { timeout: 15_000 }).toEqual(expected);

test("tells when the authority ends and what each server shows, and signs in nowhere without a password", async () => {
  await become({ "internal-ca": first.end, "app-tls": first.end, "postgres-tls": first.end });
  expect(await prober.metrics()).not.toContain("probe_success");
}, 30_000);

test("tells of a renewed one, and of one that it may not trust keeps what it knew", async () => {
  const second = certificate("second", 40);
  direct.setSecureContext(second.served);
  await expect.poll(prober.said, { timeout: 15_000 }).toContain("CERTIFICATE_VERIFY_FAILED");
  await become({ "internal-ca": first.end, "app-tls": first.end, "postgres-tls": first.end });
  trust("first", "second");
  await become({ "internal-ca": first.end, "app-tls": second.end, "postgres-tls": first.end });
  expect(prober.said().match(/CERTIFICATE_VERIFY_FAILED/g)).toHaveLength(1);
  expect(prober.said()).toContain("can be looked at again");
}, 60_000);

test("looks at none that Azure or somebody else runs, nor at an app that speaks no TLS", () => {
  const seen = (kind: "cluster" | "managed", isTls: boolean) => {
    const inAzure = { subscriptionId: randomUUID(), tenantId: randomUUID(), location: "japaneast" };
    const settings = {
      azure: kind === "managed" ? stackSchema.shape.azure.parse(inAzure) : undefined,
      postgres: { ...stackSchema.shape.postgres.parse({}), kind },
      redis: { ...stackSchema.shape.redis.parse({}), kind },
    };
    const app = {
      tls: isTls ? { name: "app.app.svc.cluster.local", ca: { name: "internal-ca" } } : undefined,
      shares: [{ host: "app-share-100.app.svc.cluster.local", port: 443, percent: 100 }],
    };
    const servers = internalServers(settings, { data: pulumi.output("data") }, app);
    return servers.map(({ certificate: shown }) => shown);
  };
  expect(seen("cluster", false)).toEqual(["postgres-tls", "redis-tls", "redis-tls", "azurite-tls"]);
  expect(seen("managed", true)).toEqual(["app-tls"]);
});

test("has every server of production looked at, and the vault, through flows that are open", async () => {
  const isProber = ({ type, name: called }: Registered) =>
    type.endsWith(":Deployment") && called === "prober";
  const container = at((await prod({})).find(isProber), "spec.template.spec.containers.0");
  const { env } = container as { env: { name: string; value: string }[] };
  expect(env).toContainEqual({
    name: "VAULT_URL",
    value: expect.stringMatching(/^https:\/\/[a-z0-9-]+\.vault\.azure\.net$/) as string,
  });
  const known = env.find((one) => one.name === "INTERNAL_SERVERS")?.value ?? "[]";
  const app = { host: "app-share-10.app.svc.cluster.local", name: "app.app.svc.cluster.local" };
  const data = (service: string) => ({
    host: `${service}.data.svc.cluster.local`,
    name: `${service}.data.svc.cluster.local`,
  });
  expect(JSON.parse(known)).toEqual([
    { certificate: "postgres-tls", ...data("postgres"), port: 5432, protocol: "postgres" },
    { certificate: "redis-tls", ...data("redis-queue"), port: 6379 },
    { certificate: "redis-tls", ...data("redis-cache"), port: 6379 },
    { certificate: "app-tls", ...app, port: 443 },
  ]);
  for (const [to, port] of [
    ["app", 3000],
    ["postgres", 5432],
    ["redis-queue", 6379],
    ["redis-cache", 6379],
  ])
    expect(flows).toContainEqual({ from: "prober", to, port });
}, 60_000);
