/** What `make up` takes from the committed file of the dev stack: a cluster that was there before, and images. */
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { stringify } from "yaml";
import { existingCluster } from "../../local/cluster.ts";
import { edgeUrl } from "../../local/devSettings.ts";
import { ensureImages } from "../../local/images.ts";
import { sources } from "../../local/images/catalogue.ts";
import { plan } from "../../local/images/contents.ts";
import type * as system from "../../local/system.ts";
import { dev, prepare } from "../../local/up.ts";

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
  vi.stubEnv("KUBECONFIG", join(directory, "kubeconfig"));
  vi.stubEnv("PATH", `${directory}:/usr/bin:/bin`);
  await writeFile(join(directory, "kubeconfig"), "");
  await writeFile(join(directory, "kubectl"), "#!/bin/sh\n", { mode: 0o755 });
  committed.config = {};
  section("cluster", { context: "shared" });
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(directory, { recursive: true });
});

describe("a cluster that was there before", () => {
  test("is not passed over because there is no kubectl", async () => {
    await rm(join(directory, "kubectl"));
    vi.stubEnv("PATH", directory);
    await expect(existingCluster()).rejects.toThrow(/names the context "shared".*Install kubectl/);
  });

  test("gets no image that is built here: all of ours must be named, before anything is made", async () => {
    section("images", { app: "registry.example.com/app:1" });
    await expect(prepare()).rejects.toThrow(
      /"shared", which gets no image.*groundwork:images\.postgres, groundwork:images\.exporters\. `make push-images/,
    );
    await expect(readdir(cache())).rejects.toThrow("ENOENT");
  });
});

test("an image that is named is neither built nor replaced", async () => {
  const others = sources("docker").filter(({ name }) => name !== "app");
  await mkdir(join(cache(), "images"), { recursive: true });
  await writeFile(join(cache(), "images/world"), "docker");
  const built = await plan(others, "docker");
  for (const { tarName } of built) await writeFile(join(cache(), "images", tarName), "");
  section("images", { app: "registry.example.com/app:1" });
  expect(Object.keys((await ensureImages()).images).sort()).toEqual(["exporters", "postgres"]);
  await writeFile(
    join(cache(), "cluster.json"),
    JSON.stringify({ kubeconfig: join(cache(), "kubeconfig"), kind: "node" }),
  );
  await expect(dev()).rejects.toThrow("names groundwork:images.app, so app/ is not built");
});

test.each([
  [{ service: { type: "NodePort", httpsPort: 30443 } }, "https://localhost:30443"],
  [{ hosts: ["dev.example.com", "other"], service: { type: "LoadBalancer" } }, "https://dev.example.com"],
])("the edge's address is what its settings make it: %j", async (edge, url) => {
  section("edge", edge);
  expect(await edgeUrl()).toBe(url);
});
