/** What the README and the guides tell people to type, typed as it stands there. */
import { execFile } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { kubectlProgram } from "../../local/cluster.ts";
import { repository } from "../../local/stack.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "groundwork-docs-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

/** The `sh` blocks of a page, in order. */
async function blocksOf(page: string): Promise<string[]> {
  const text = await readFile(join(repository, page), "utf8");
  return [...text.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, block = ""]) => block);
}

/** What a person's shell prints; it stops at the first command that fails. */
async function typed(lines: readonly string[]): Promise<string> {
  const script = ["shopt -s expand_aliases", "set -euo pipefail", ...lines].join("\n");
  const path = [dirname(await kubectlProgram()), process.env["PATH"]].join(":");
  const env = { ...process.env, PATH: path, PASSWORD_FILE: join(folder, "password-file") };
  // A line at a time, as an alias is known only from the next one on.
  const running = promisify(execFile)("bash", ["-s"], { cwd: repository, env });
  running.child.stdin?.end(script);
  return (await running).stdout;
}

test("the README's first requests are answered", async () => {
  const [, block = ""] = await blocksOf("README.md");
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
  const [administrator = ""] = await blocksOf("docs/admin-guide.md");
  const [address = "", signIn = "", documents = "", chat = "", ...more] =
    await blocksOf("docs/user-guide.md");
  expect(more).toEqual([]);
  const named = (text: string): string =>
    text.replaceAll(/\b(root|mina)\b/g, username).replace("…", password);
  const out = await typed([
    named(administrator).replace("< password-file", '<"$PASSWORD_FILE"'),
    address,
    `ANSWER=$(${named(signIn).trim()})`,
    `TOKEN=$(node -p 'JSON.parse(process.argv[1]).accessToken' "$ANSWER")`,
    documents,
    chat,
  ]);
  expect(out).toMatch(/"title":"First"[\s\S]*"items":\[[^\n]*"title":"First"/);
  expect(out).toMatch(/^event: start[\s\S]*^event: delta[\s\S]*^event: done/m);
});
