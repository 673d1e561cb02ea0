import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { type CryptoKey, exportJWK, exportSPKI, generateKeyPair, type JWK, SignJWT } from "jose";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { newDatabase } from "./support/postgres.ts";
import { freePort } from "./support/processes.ts";
import { newTenant, startTestService, type TestService } from "./support/service.ts";

const postgres = inject("postgres");
const audience = "groundwork-api";
const keys: JWK[] = [];
let issuer: string;
let server: Server;
let privateKey: CryptoKey;
let publicPem: string;
let service: TestService;
let tenant: string;

async function addKey(kid: string): Promise<CryptoKey> {
  const pair = await generateKeyPair("RS256", { extractable: true });
  keys.push({ ...(await exportJWK(pair.publicKey)), kid, alg: "RS256", use: "sig" });
  publicPem = await exportSPKI(pair.publicKey);
  return pair.privateKey;
}

beforeAll(async () => {
  privateKey = await addKey("one");
  server = createServer((request, response) => {
    response.setHeader("Content-Type", "application/json");
    response.end(JSON.stringify(request.url === "/jwks" ? { keys } : { issuer, jwks_uri: `${issuer}/jwks` }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const database = await newDatabase(postgres);
  tenant = await newTenant(postgres, database);
  service = await startTestService(postgres, database, inject("redis"), {
    oidc: { issuer, audience, tenantClaim: "org", roleClaim: "groups" },
  });
});
afterAll(async () => {
  await service.stop();
  server.close();
});

const claims = () => ({ org: `tenant ${tenant}`, groups: ["everyone", "editor"] });
const token = (
  payload: Record<string, unknown>,
  change: (token: SignJWT) => SignJWT = (same) => same,
  header: Record<string, unknown> = {},
) =>
  change(
    new SignJWT(payload)
      .setProtectedHeader({ alg: "RS256", kid: "one", ...header })
      .setSubject("42")
      .setIssuer(issuer)
      .setAudience(audience)
      .setIssuedAt()
      .setExpirationTime("5m"),
  ).sign(privateKey);
const me = (bearer: string) => service.call("GET", "/api/v2/auth/me", { token: bearer });

describe("a token of the OIDC issuer", () => {
  it("is accepted also where no keys of our own are configured", async () => {
    const { config, databaseConfig } = service;
    const keyless = await startTestService(postgres, databaseConfig.database, inject("redis"), {
      oidc: config.oidc,
      jwt: { ...config.jwt, keysFile: undefined },
    });
    const call = async (bearer: string) =>
      (await keyless.call("GET", "/api/v2/auth/me", { token: bearer })).status;
    expect(await call(await token(claims()))).toBe(200);
    expect(await call(await service.token("viewer", tenant))).toBe(503);
    await keyless.stop();
  });

  it("is accepted, its claims giving tenant and role", async () => {
    expect((await me(await token(claims()))).body).toEqual({
      subject: "oidc:42",
      tenantId: tenant,
      role: "editor",
      username: null,
      email: null,
      csrfToken: null,
    });
    const viewer = await token({ ...claims(), groups: "viewer" });
    const body = { title: "t", content: "c" };
    expect((await service.call("POST", "/api/v1/documents", { token: viewer, body })).status).toBe(403);
    const editor = await token(claims());
    expect((await service.call("POST", "/api/v1/documents", { token: editor, body })).status).toBe(201);
  });

  it.each<[string, () => Promise<string>]>([
    ["has expired", () => token(claims(), (it) => it.setExpirationTime("1m ago"))],
    ["is for another audience", () => token(claims(), (it) => it.setAudience("another"))],
    ["names no tenant of ours", () => token({ ...claims(), org: "nowhere" })],
    ["names no tenant", () => token({ groups: "editor" })],
    ["names no role of ours", () => token({ ...claims(), groups: ["owner"] })],
    ["names roles in another form", () => token({ ...claims(), groups: { editor: true } })],
    ["has an unknown key", () => token(claims(), undefined, { kid: "nine" })],
  ])("is refused when it %s", async (_reason, make) => {
    expect((await me(await make())).status).toBe(401);
  });

  it.each([
    { kid: null },
    { kid: 0 },
    { kid: {} },
    { kid: "__proto__" },
    { alg: "none" },
    { alg: null },
    { alg: ["RS256"] },
    { alg: "ES256" },
    { crit: ["x"], x: 1 },
    { jwk: { kty: "RSA", n: "AQAB", e: "AQAB" } },
    { typ: 1 },
  ])("is refused, not an error of ours, with %j in its header", async (extra) => {
    const [, payload = "", signature = ""] = (await token(claims())).split(".");
    const header = Buffer.from(JSON.stringify({ alg: "RS256", kid: "one", ...extra })).toString("base64url");
    expect((await me(`${header}.${payload}.${signature}`)).status).toBe(401);
  });

  it("is refused when signed with the public key as if it were a shared secret", async () => {
    const confused = await new SignJWT({ ...claims(), role: "admin", tenant_id: tenant })
      .setProtectedHeader({ alg: "HS256", kid: "one", typ: "at+jwt" })
      .setSubject("42")
      .setIssuer(issuer)
      .setAudience(audience)
      .setIssuedAt()
      .setExpirationTime("5m")
      .sign(Buffer.from(publicPem));
    expect((await me(confused)).status).toBe(401);
  });

  it("is refused when it pretends to be ours, and ours when it pretends to be the issuer's", async () => {
    const ours = service.config.jwt.issuer;
    const payload = { ...claims(), role: "admin", tenant_id: tenant };
    expect((await me(await token(payload, (it) => it.setIssuer(ours)))).status).toBe(401);
    const own = await service.token("admin", tenant);
    const [header = "", body = "", signature = ""] = own.split(".");
    const changed = { ...(JSON.parse(Buffer.from(body, "base64url").toString()) as object), iss: issuer };
    const forged = [header, Buffer.from(JSON.stringify(changed)).toString("base64url"), signature].join(".");
    expect((await me(forged)).status).toBe(401);
    expect((await me(own)).status).toBe(200);
  });

  it("cannot be checked while the issuer is away: that is 503, and ours go on", async () => {
    const away = await startTestService(postgres, service.databaseConfig.database, inject("redis"), {
      oidc: {
        issuer: `http://127.0.0.1:${await freePort()}`,
        audience,
        tenantClaim: "org",
        roleClaim: "groups",
      },
    });
    const theirs = await token(claims(), (it) => it.setIssuer(away.config.oidc?.issuer ?? ""));
    const path = "/api/v2/auth/me";
    expect((await away.call("GET", path, { token: theirs })).status).toBe(503);
    expect((await away.call("GET", path, { token: await away.token("viewer", tenant) })).status).toBe(200);
    await away.stop();
  });
});
