/** A program that the machine lacks, and Go with it. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { UserError } from "../../local/system.ts";
import { developmentToken } from "../../local/token.ts";
import { tool } from "../../local/tool.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "groundwork-tool-"));
  vi.stubEnv("GROUNDWORK_CACHE", join(directory, "cache"));
  vi.stubEnv("PATH", directory);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(directory, { recursive: true });
});

test("a program that is neither there nor can be built is named, with both that would help", async () => {
  const lacking = tool("kind");
  await expect(lacking).rejects.toThrow(UserError);
  await expect(lacking).rejects.toThrow(/^kind is not on PATH, and neither is Go.*Install kind, or Go 1/);
});

test("a token that is not to be had for want of kubectl says so, and not that the stack is down", async () => {
  await mkdir(join(directory, "cache"));
  await writeFile(join(directory, "cache", "cluster.json"), JSON.stringify({ kind: "kind", kubeconfig: "" }));
  await expect(developmentToken("viewer", "acme")).rejects.toThrow(/^kubectl is not on PATH/);
});
