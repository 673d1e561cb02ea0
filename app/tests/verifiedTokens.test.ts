import { readFile, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { SignJWT } from "jose";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { KeyStore } from "../src/auth/keyStore.ts";
import { type Principal, Tokens } from "../src/auth/tokens.ts";
import { VerifiedTokens } from "../src/auth/verifiedTokens.ts";
import { silentLogger } from "./support/logs.ts";
import { jwt, writeKeyFile } from "./support/service.ts";

const principal: Principal = {
  subject: "someone",
  role: "editor",
  tenantId: "7d444840-9dc0-41d8-b245-1ef6a4d4fc9a",
};
const everyTime = 0;

let file: string;
let tokens: VerifiedTokens;
const verifications = vi.spyOn(Tokens.prototype, "verify");
beforeEach(async () => {
  file = await writeKeyFile(["k1"]);
  tokens = new VerifiedTokens(new KeyStore(file, silentLogger, everyTime), { keysFile: file, ...jwt });
  verifications.mockClear();
});
afterEach(() => {
  vi.useRealTimers();
});

describe("a token that was verified", () => {
  it("is not verified again, and says the same", async () => {
    const token = await tokens.sign(principal);
    expect([await tokens.verify(token), await tokens.verify(token)]).toEqual([principal, principal]);
    expect(verifications).toHaveBeenCalledTimes(1);
  });

  it("is refused as soon as its key is out of the file", async () => {
    const token = await tokens.sign(principal);
    await tokens.verify(token);
    await sleep(5);
    await writeKeyFile(["k2"], file);
    await expect(tokens.verify(token)).rejects.toMatchObject({ status: 401 });
  });

  it("is refused as soon as it has expired", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const { active, keys } = JSON.parse(await readFile(file, "utf8")) as {
      active: string;
      keys: Record<string, string>;
    };
    const token = await new SignJWT({ role: principal.role, tenant_id: principal.tenantId })
      .setProtectedHeader({ alg: "HS256", kid: active, typ: "at+jwt" })
      .setSubject(principal.subject)
      .setIssuer(jwt.issuer)
      .setAudience(jwt.audience)
      .setIssuedAt()
      .setExpirationTime("20s")
      .sign(Buffer.from(keys[active] ?? "", "base64"));
    expect(await tokens.verify(token)).toEqual(principal);
    vi.setSystemTime(Date.now() + 30_000);
    await expect(tokens.verify(token)).rejects.toMatchObject({ detail: "the token has expired" });
  });

  it("is verified anew after a minute", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const token = await tokens.sign(principal);
    await tokens.verify(token);
    vi.setSystemTime(Date.now() + 61_000);
    await tokens.verify(token);
    expect(verifications).toHaveBeenCalledTimes(2);
  });
});

describe("a token that was refused", () => {
  it("is refused again, also when only its signature differs from one that is known", async () => {
    const token = await tokens.sign(principal);
    await tokens.verify(token);
    const [header, payload] = token.split(".");
    const forged = [header, payload, Buffer.alloc(32).toString("base64url")].join(".");
    await expect(tokens.verify(forged)).rejects.toMatchObject({ status: 401 });
    await expect(tokens.verify(forged)).rejects.toMatchObject({ status: 401 });
    await writeFile(file, "{");
    await expect(tokens.verify(forged)).rejects.toMatchObject({ status: 401 });
  });
});
