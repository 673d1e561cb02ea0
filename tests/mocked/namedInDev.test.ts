/** What `make up` takes from the committed file of the dev stack: images. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { stringify } from "yaml";
import { ensureImages } from "../../local/images.ts";
import { sources } from "../../local/images/catalogue.ts";
import { plan } from "../../local/images/contents.ts";
import type * as system from "../../local/system.ts";
import { dev } from "../../local/up.ts";

const committed = vi.hoisted(() => ({ config: {} as Record<string, unknown> }));
vi.mock("../../local/system.ts", async (original) => {
  const real = await original<typeof system>();
  const file = join(import.meta.dirname, "../../Pulumi.dev.yaml");
  const readIfPresent = (path: string): Promise<string | undefined> =>
    path === file ? Promise.resolve(stringify({ config: committed.config })) : real.readIfPresent(path);
  return { ...real, readIfPresent, say: () => undefined };
});
// What is begun although it must not be ends here, and makes nothing.
const begun = vi.hoisted(() => () => Promise.reject(new Error("begun")));
vi.mock("../../local/engine.ts", () => ({ prepareEngine: begun }));
vi.mock("../../local/images/build.ts", () => ({ buildImages: begun }));
vi.mock("../../local/images/privateDocker.ts", () => ({ withPrivateDocker: begun }));
vi.mock("../../local/node/node.ts", () => ({ contextName: "groundwork-node", startNode: begun }));

let directory: string;
const cache = (): string => join(directory, "cache");
const section = (name: string, value: object): void => {
  committed.config[`groundwork:${name}`] = value;
};
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "groundwork-named-"));
  vi.stubEnv("GROUNDWORK_CACHE", cache());
  vi.stubEnv("PATH", `${directory}:/usr/bin:/bin`);
  committed.config = {};
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(directory, { recursive: true });
});

test("an image that is named is neither built nor replaced", async () => {
  const others = sources("docker").filter(({ name }) => name !== "app");
  await mkdir(join(cache(), "images"), { recursive: true });
  await writeFile(join(cache(), "images/world"), "docker");
  const built = await plan(others, "docker");
  for (const { tarName } of built) await writeFile(join(cache(), "images", tarName), "");
  section("images", { app: "registry.example.com/app:1" });
  expect(Object.keys((await ensureImages()).images).sort()).toEqual(["exporters", "postgres"]);
  await writeFile(join(cache(), "cluster.json"), JSON.stringify({ kind: "node" }));
  await expect(dev()).rejects.toThrow("names groundwork:images.app, so app/ is not built");
});
