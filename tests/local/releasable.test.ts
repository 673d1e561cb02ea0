/** What `make release` refuses by the stack's configuration, before a cluster or the checklist is asked. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { requireReleasable } from "../../local/delivery/releasable.ts";
import { releaseCommand } from "../../local/delivery/release.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "groundwork-releasable-"));
  vi.stubEnv("GROUNDWORK_CACHE", directory);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(directory, { recursive: true });
});

test("in production an image by a tag, which may move", async () => {
  const byTag = "registry.example.com/app:1";
  await expect(releaseCommand("prod", byTag)).rejects.toThrow(
    /IMAGE is "registry\.example\.com\/app:1" and may be .*by digest.*groundwork:environment of prod is "production"/,
  );
  await requireReleasable("prod", `${byTag}@sha256:${"0".repeat(64)}`);
  await requireReleasable("dev", byTag);
});

test("an edge that sends all users to one version", async () => {
  await mkdir(join(directory, "state", "project"), { recursive: true });
  const settings = "config: { groundwork:edge: { mode: controller } }\n";
  await writeFile(join(directory, "state", "project", "Pulumi.dev.yaml"), settings);
  await expect(releaseCommand("dev", "app:2")).rejects.toThrow(
    /groundwork:edge\.mode of dev is "controller"[^]*needs "nginx"/,
  );
});
