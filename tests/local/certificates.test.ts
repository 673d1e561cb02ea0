/** `make certificates`: what a stack on another cluster is given. */
import { X509Certificate } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { writeCertificates } from "../../local/internalCertificates.ts";

test("each is in a file named as its key, for the names of its servers, and stays when it is asked for again", async () => {
  const directory = join(mkdtempSync(join(tmpdir(), "groundwork-certificates-")), "new");
  await writeCertificates(directory);
  const files = readdirSync(directory).filter((name) => name.endsWith(".pem"));
  expect(files).toEqual([
    "appTls.pem",
    "azuriteTls.pem",
    "internalCa.pem",
    "postgresTls.pem",
    "redisTls.pem",
  ]);
  const read = (name: string): string => readFileSync(join(directory, name), "utf8");
  const before = files.map(read);
  const authority = new X509Certificate(read("internalCa.pem"));
  const servers = {
    app: "app.app.svc.cluster.local",
    azurite: "azurite.data.svc.cluster.local",
    postgres: "postgres-0.postgres-members.data.svc.cluster.local",
    redis: "redis-queue-2.redis-queue-members.data.svc.cluster.local",
  };
  for (const [server, host] of Object.entries(servers)) {
    const certificate = new X509Certificate(read(`${server}Tls.pem`));
    expect(certificate.verify(authority.publicKey), server).toBe(true);
    expect(certificate.checkHost(host), server).toBeDefined();
    expect(read(`${server}Tls.pem`)).toMatch(/-----BEGIN CERTIFICATE-----[^]+-----BEGIN PRIVATE KEY-----/);
  }
  expect(read("internalCa.pem")).not.toContain("PRIVATE KEY");
  const secret = readdirSync(directory).filter((name) => /\.(pem|key)$/.test(name));
  expect(secret.filter((name) => (statSync(join(directory, name)).mode & 0o077) !== 0)).toEqual([]);
  await writeCertificates(directory);
  expect(files.map(read)).toEqual(before);
});

test("a missing directory is said", async () => {
  await expect(writeCertificates("")).rejects.toThrow("DIR is not set");
});
