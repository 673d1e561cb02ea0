/** What the README and the guides tell people to type, typed as it stands there. */
import { randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
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
    `ANSWER=$(${named(signIn).trim()})`,
    `TOKEN=$(node -p 'JSON.parse(process.argv[1]).accessToken' "$ANSWER")`,
    documents,
    chat,
  ]);
  expect(out).toMatch(/"title":"First"[\s\S]*"items":\[[^\n]*"title":"First"/);
  expect(out).toMatch(/^event: start[\s\S]*^event: delta[\s\S]*^event: done/m);
});
