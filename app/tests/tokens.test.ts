import { createHmac } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from "jose";
import { beforeEach, describe, expect, it } from "vitest";
import { parseKeyFile, type SigningKeys } from "../src/auth/keyFile.ts";
import { KeyStore } from "../src/auth/keyStore.ts";
import { type Principal, Tokens } from "../src/auth/tokens.ts";
import { silentLogger } from "./support/logs.ts";
import { jwt, writeKeyFile } from "./support/service.ts";

const principal: Principal = {
  subject: "someone",
  role: "editor",
  tenantId: "7d444840-9dc0-41d8-b245-1ef6a4d4fc9a",
};
const everyTime = 0;

let file: string;
let tokens: Tokens;
beforeEach(async () => {
  file = await writeKeyFile(["k1"]);
  tokens = new Tokens(new KeyStore(file, silentLogger, everyTime), { keysFile: file, ...jwt });
});

async function keysOf(path: string): Promise<SigningKeys> {
  const keys = parseKeyFile(await readFile(path, "utf8"));
  if (typeof keys === "string") {
    throw new Error(keys);
  }
  return keys;
}

/** A token of ours in every respect that `change` does not touch. */
async function forged(
  change: (token: SignJWT) => SignJWT,
  header: Record<string, string> = {},
): Promise<string> {
  const { active, keys } = await keysOf(file);
  const token = new SignJWT({ role: "editor", tenant_id: principal.tenantId })
    .setProtectedHeader({ alg: "HS256", kid: active, typ: "at+jwt", ...header })
    .setSubject("someone")
    .setIssuer(jwt.issuer)
    .setAudience(jwt.audience)
    .setIssuedAt()
    .setExpirationTime("15m");
  return change(token).sign(keys.get(active) ?? new Uint8Array(32));
}

const encoded = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");

describe("an access token", () => {
  it("says who is asking after being signed and verified", async () => {
    expect(await tokens.verify(await tokens.sign(principal))).toEqual(principal);
    expect(await tokens.verify(await forged((token) => token))).toEqual(principal);
  });

  it.each<[string, (token: SignJWT) => SignJWT, Record<string, string>?]>([
    ["has expired", (token) => token.setIssuedAt("20m ago").setExpirationTime("1m ago")],
    [
      "was made to last longer than 15 minutes",
      (token) => token.setIssuedAt("20m ago").setExpirationTime("1d"),
    ],
    ["is of another issuer", (token) => token.setIssuer("someone else")],
    ["is for another audience", (token) => token.setAudience("something else")],
    ["is of another type", (token) => token, { typ: "JWT" }],
    ["uses another algorithm", (token) => token, { alg: "HS512" }],
    ["names an unknown key", (token) => token, { kid: "k9" }],
    ["names no subject", (token) => token.setSubject("")],
  ])("is refused when it %s", async (_reason, change, header) => {
    const token = await forged(change, header);
    await expect(tokens.verify(token)).rejects.toMatchObject({ status: 401 });
  });

  it("is refused when it is not signed (alg none)", async () => {
    const [, payload = ""] = (await tokens.sign(principal)).split(".");
    const header = encoded({ alg: "none", kid: "k1", typ: "at+jwt" });
    await expect(tokens.verify(`${header}.${payload}.`)).rejects.toMatchObject({ status: 401 });
  });

  it.each(["none", "None", "NONE", "nOnE"])(
    "is refused with the algorithm %s and our signature",
    async (alg) => {
      const [, payload = "", signature = ""] = (await tokens.sign(principal)).split(".");
      const header = encoded({ alg, kid: "k1", typ: "at+jwt" });
      await expect(tokens.verify(`${header}.${payload}.${signature}`)).rejects.toMatchObject({ status: 401 });
    },
  );

  it("is refused when a key pair of the caller's own signs it, even one that its header brings along", async () => {
    const { privateKey, publicKey } = await generateKeyPair("RS256", { extractable: true });
    const [, payload = ""] = (await tokens.sign(principal)).split(".");
    const claims = JSON.parse(Buffer.from(payload, "base64url").toString()) as JWTPayload;
    const jwk = await exportJWK(publicKey);
    for (const extra of [
      {},
      { jwk },
      { jku: "http://127.0.0.1:9/keys" },
      { x5u: "http://127.0.0.1:9/cert" },
    ]) {
      const header = { alg: "RS256", kid: "k1", typ: "at+jwt", ...extra };
      const token = await new SignJWT(claims).setProtectedHeader(header).sign(privateKey);
      await expect(tokens.verify(token)).rejects.toMatchObject({ status: 401 });
    }
  });

  it.each([
    "",
    "../../../../dev/null",
    "/dev/null",
    "k1' or '1'='1",
    "k1\u0000",
    "__proto__",
    "constructor",
    "toString",
    "K1",
    ["k1"],
    { k1: 1 },
    0,
    null,
  ])("is refused with the key id %j, signed with our key, an empty or a zero one", async (kid) => {
    const { keys } = await keysOf(file);
    const [, payload = ""] = (await tokens.sign(principal)).split(".");
    const signed = `${encoded({ alg: "HS256", kid, typ: "at+jwt" })}.${payload}`;
    for (const key of [keys.get("k1") ?? "", "", Buffer.alloc(32)]) {
      const signature = createHmac("sha256", key).update(signed).digest("base64url");
      await expect(tokens.verify(`${signed}.${signature}`)).rejects.toMatchObject({ status: 401 });
    }
  });

  it.each([
    { crit: ["exp"], exp: 1 },
    { crit: ["b64"], b64: false },
    { crit: ["unheard-of"], "unheard-of": true },
    { crit: [] },
    { alg: ["HS256"] },
    { alg: "hs256" },
    { typ: ["at+jwt"] },
  ])("is refused with %j in its header, though our key signs it", async (extra) => {
    const { keys } = await keysOf(file);
    const [, payload = ""] = (await tokens.sign(principal)).split(".");
    const signed = `${encoded({ alg: "HS256", kid: "k1", typ: "at+jwt", ...extra })}.${payload}`;
    const signature = createHmac("sha256", keys.get("k1") ?? "")
      .update(signed)
      .digest("base64url");
    await expect(tokens.verify(`${signed}.${signature}`)).rejects.toMatchObject({ status: 401 });
  });

  it("is refused when its claims were changed after signing", async () => {
    const [header = "", payload = "", signature = ""] = (await tokens.sign(principal)).split(".");
    const claims = JSON.parse(Buffer.from(payload, "base64url").toString()) as object;
    const changed = [header, encoded({ ...claims, role: "admin" }), signature].join(".");
    await expect(tokens.verify(changed)).rejects.toMatchObject({ status: 401 });
  });

  it("is refused when signed with an empty key", async () => {
    const [header = "", payload = ""] = (await tokens.sign(principal)).split(".");
    const signature = createHmac("sha256", "").update(`${header}.${payload}`).digest("base64url");
    await expect(tokens.verify(`${header}.${payload}.${signature}`)).rejects.toMatchObject({ status: 401 });
  });

  it("outlives a rotation of the keys as long as the old key is in the file", async () => {
    const before = await tokens.sign(principal);
    const { keys } = await keysOf(file);
    const old = Buffer.from(keys.get("k1") ?? []).toString("base64");
    await writeFile(
      file,
      JSON.stringify({ active: "k2", keys: { k1: old, k2: Buffer.alloc(32, 7).toString("base64") } }),
    );
    expect(await tokens.verify(before)).toEqual(principal);
    const after = await tokens.sign(principal);
    expect(Buffer.from(after.split(".")[0] ?? "", "base64url").toString()).toContain('"kid":"k2"');
    await sleep(5);
    await writeKeyFile(["k2"], file);
    await expect(tokens.verify(before)).rejects.toMatchObject({ status: 401 });
  });

  it("is still accepted while the key file is broken", async () => {
    const token = await tokens.sign(principal);
    await writeFile(file, "{");
    expect(await tokens.verify(token)).toEqual(principal);
  });

  it("cannot be checked without a key file, which is the service's fault and not the caller's", async () => {
    const keyless = new Tokens(new KeyStore(undefined, silentLogger), { keysFile: undefined, ...jwt });
    await expect(keyless.verify("a.b.c")).rejects.toMatchObject({ status: 503 });
    const unreadable = new Tokens(new KeyStore("/nowhere", silentLogger), { keysFile: undefined, ...jwt });
    await expect(unreadable.verify("a.b.c")).rejects.toMatchObject({ status: 503 });
  });
});

describe("the key file", () => {
  it.each([
    ["no JSON", "x"],
    ["no keys", JSON.stringify({ active: "a", keys: {} })],
    ["a short key", JSON.stringify({ active: "a", keys: { a: Buffer.alloc(31).toString("base64") } })],
    ["a key that is not base64", JSON.stringify({ active: "a", keys: { a: "*".repeat(44) } })],
    ["an active key that is inherited", JSON.stringify({ active: "constructor", keys: {} })],
  ])("is refused with %s", (_reason, text) => {
    expect(parseKeyFile(text)).toContain("expected");
  });

  it("never crashes the reader, whatever it holds", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        expect(typeof parseKeyFile(text)).toBe("string");
      }),
    );
  });
});
