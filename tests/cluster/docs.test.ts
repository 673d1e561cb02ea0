/** What the README and the guides tell people to type, typed as it stands there. */
import { randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Client, waitFor } from "./support.ts";
import { blocksOf, typed } from "./typed.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "groundwork-docs-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

test("the README's first requests are answered", async () => {
  const [, block = ""] = blocksOf("README.md");
  // What follows changes or ends the stack.
  const [requests = ""] = block.split(/^make status/m);
  const out = await typed([requests, "make status"]);
  expect(out).toContain('"status":"ready"');
  expect(out).toMatch(/"title":"First"/);
  expect(out).toMatch(/^ok +app +app /m);
});

test("the first administrator signs in, and does what the user guide shows", async () => {
  const username = `root-${randomUUID().slice(0, 8)}`;
  const password = randomBytes(12).toString("hex");
  await writeFile(join(folder, "password-file"), password, { mode: 0o600 });
  const [administrator = ""] = blocksOf("docs/admin-guide.md");
  const [address = "", signIn = "", documents = "", chat = "", ...more] = blocksOf("docs/user-guide.md");
  expect(more).toEqual([]);
  const named = (text: string): string =>
    text.replaceAll(/\b(root|mina)\b/g, username).replace("…", password);
  const out = await typed([
    named(administrator).replace("< password-file", `<'${join(folder, "password-file")}'`),
    address,
    named(signIn),
    documents,
    chat,
  ]);
  expect(out).toMatch(/"title":"First"[\s\S]*"items":\[[^\n]*"title":"First"/);
  expect(out).toMatch(/^event: start[\s\S]*^event: delta[\s\S]*^event: done/m);
});

test("the second emergency level switches on and off as its page says, and tells users", async () => {
  const [, commands = ""] = blocksOf("docs/emergency.md");
  const [on = "", off = ""] = commands.trimEnd().split("\n");
  const client = new Client();
  const noticeIs = (expected: unknown) =>
    waitFor("the notice", 10, async () => {
      expect(JSON.parse((await client.get("/api/v2/notice")).body)).toEqual({ notice: expected });
    });
  await noticeIs(null);
  try {
    expect(await typed([`${on} 2>&1`])).toContain(
      "fallback sign-in: on; answers: stub; notice: Some functions",
    );
    await noticeIs(expect.stringContaining("limited at the moment"));
    await typed([`${on} NOTICE='回答は "簡易" です'`]);
    await noticeIs('回答は "簡易" です');
  } finally {
    await typed([off]);
  }
  await noticeIs(null);
});

test("the check of the configuration finds nothing wrong with the stack that runs", async () => {
  expect(await typed(["make check-config STACK=dev"])).toMatch(/one secret +ok[\s\S]*Nothing is wrong/);
});

test("a look from outside sees whether the service answers", async () => {
  const trusting = 'export NODE_EXTRA_CA_CERTS="$(make -s ca)"';
  const seen = await typed([trusting, 'make smoke URL="$(make -s url)" 2>&1']);
  expect(seen).toMatch(/\/health: 200[\s\S]*\/api\/health: 200[\s\S]*\/ready: 200/);
  // Nobody listens there.
  const unanswered = await typed([trusting, 'make smoke URL="https://localhost:59999" 2>&1'], [2]);
  expect(unanswered).toMatch(/\/health: .*ECONNREFUSED/);
  expect(unanswered).not.toContain("/ready");
});
