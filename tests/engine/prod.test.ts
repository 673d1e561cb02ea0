/**
 * Production through the real engine, with stand-ins for Azure and for the cluster: what it plans, makes, changes and
 * refuses to lose. Nothing outside this machine is asked, and no cluster.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { rm } from "node:fs/promises";
import { merge, type Engine } from "../../local/stack.ts";
import { offlineEngine } from "./offline.ts";
import { productions, sinceReleases } from "./prodSettings.ts";
import { importState, lastRelease } from "./releaseState.ts";
import { isStateful, losses } from "./stateful.ts";
import { operations, succeeded, TestProject, type Run } from "./support.ts";

let engine: Engine;
let home: string;
beforeAll(async () => {
  ({ engine, home } = await offlineEngine());
});
afterAll(async () => {
  await rm(home, { recursive: true, force: true });
});

const made = (run: Run, type: string): string[] =>
  run.steps.filter((step) => step.op === "create" && step.type === type).map(({ name }) => name);

describe("production from an empty subscription", () => {
  let project: TestProject;
  beforeAll(async () => {
    project = await TestProject.ofRepository("prod", productions["created"], engine);
    await project.fillSecrets();
  });
  afterAll(async () => {
    await project.remove();
  });

  test("previews before anything is known of it", async () => {
    const run = succeeded(await project.preview());
    expect(made(run, "azure-native:containerservice:ManagedCluster")).toHaveLength(1);
    expect(made(run, "azure-native:dbforpostgresql:Server")).toEqual(["postgres"]);
    expect(made(run, "azure-native:redisenterprise:RedisEnterprise").sort()).toEqual([
      "redis-cache",
      "redis-queue",
    ]);
    expect(made(run, "azure-native:dns:RecordSet")).toEqual(["record-api.example.com"]);
    expect(made(run, "kubernetes:apps/v1:StatefulSet")).not.toContain("postgres");
    expect(made(run, "docker:index/image:Image").sort()).toEqual([
      "image-app",
      "image-exporters",
      "image-postgres",
    ]);
    expect(made(run, "kubernetes:core/v1:Secret")).toEqual([]);
  });

  test("is made, and then there is nothing to change", async () => {
    succeeded(await project.up());
    expect(succeeded(await project.preview()).changes).toEqual([]);
  });

  test("runs the images that it has built by the digests that the registry gave", async () => {
    const digest = (await project.resource("image-app")).outputs?.["repoDigest"];
    expect(digest).toMatch(/^registry\.example\.com\/groundwork\/app@sha256:[0-9a-f]{64}$/);
    const { resources } = await project.state();
    for (const workload of [
      "batch/v1:Job::app-migrate",
      "apps/v1:Deployment::app",
      "apps/v1:Deployment::worker",
    ]) {
      const found = resources.filter(({ urn }) => urn.endsWith(workload));
      expect(found.map(({ inputs }) => JSON.stringify(inputs))).toEqual([
        expect.stringContaining(String(digest)),
      ]);
    }
  });

  test("grows in place, and changes nothing else", async () => {
    await project.setConfig({
      "groundwork:app": { logLevel: "debug" },
      "groundwork:postgres": { storageGiB: 128, managed: { sku: "Standard_E4ds_v5" } },
      "groundwork:azure": { aks: { userPool: { maxNodes: 20 } }, logRetentionDays: 120 },
    });
    const run = succeeded(await project.up());
    for (const name of ["app", "postgres", "user"]) expect(operations(run, name), name).toEqual(["update"]);
    const meant = ["app", "app-migrate", "worker", "postgres", "user", "azure-observability", "logs"];
    expect(run.changes.filter(({ name }) => !meant.includes(name))).toEqual([]);
    expect(losses(run.steps)).toEqual([]);
  });

  test("has nodes of another size before those of the old one go", async () => {
    await project.setConfig({ "groundwork:azure": { aks: { userPool: { vmSize: "Standard_D8s_v5" } } } });
    const run = succeeded(await project.up());
    expect(operations(run, "user")).toEqual(["create-replacement", "replace", "delete-replaced"]);
    expect(losses(run.steps)).toEqual([]);
  });

  test("tells its cluster the version that it was upgraded to", async () => {
    await project.setConfig({ "groundwork:azure": { aks: { kubernetesVersion: "1.37" } } });
    const run = succeeded(await project.up());
    expect(operations(run, "groundwork-prod")).toEqual(["update"]);
    expect(losses(run.steps)).toEqual([]);
  });

  test.each([
    ["to another region", { location: "westeurope" }, { location: "japaneast" }],
    [
      "its cluster to another network",
      { ranges: { services: "10.97.0.0/16" } },
      { ranges: { services: "10.96.0.0/16" } },
    ],
  ])("does not move %s: what holds data would be lost", async (_, change, back) => {
    await project.setConfig({ "groundwork:azure": change });
    const run = await project.up();
    await project.setConfig({ "groundwork:azure": back });
    expect(run.exitCode).not.toBe(0);
    expect(run.text).toMatch(/unable to replace resource[^]*marked for protection/);
    expect(losses(run.steps)).toEqual([]);
  });

  test("refuses to be destroyed before anything is deleted, and says where to read", async () => {
    const run = await project.destroy();
    expect(run.exitCode).not.toBe(0);
    expect(run.text).toMatch(
      /production-is-not-destroyed-see-docs-azure-md\S* cannot be deleted\s+because it is protected/,
    );
    // A component is a line in the state and nothing else.
    expect(run.steps.filter(({ op, type }) => op === "delete" && !type.startsWith("groundwork:"))).toEqual(
      [],
    );
  });

  test("protects, each for itself, what holds data or decrypts it", async () => {
    const { resources } = await project.state();
    const flags = new Map(
      resources.map(({ urn, ...rest }) => [urn.split("::").slice(-2).join(" ").split("$").at(-1), rest]),
    );
    const unprotected = [
      "azure-native:resources:ResourceGroup groundwork",
      "azure-native:keyvault:Vault vault",
      "azure-native:keyvault:Key backup-key",
      "azure-native:storage:StorageAccount backups",
      "azure-native:storage:BlobContainer dumps",
      "azure-native:storage:EncryptionScope backup-scope",
      "azure-native:containerservice:ManagedCluster groundwork-prod",
      "azure-native:network:PublicIPAddress edge-address",
      "azure-native:containerregistry:Registry registry",
      "azure-native:dbforpostgresql:Server postgres",
      "azure-native:redisenterprise:Database redis-queue",
      "kubernetes:core/v1:Namespace data",
      "kubernetes:core/v1:Namespace monitoring",
      "random:index/randomPassword:RandomPassword field-key",
    ].filter((name) => (flags.get(name) as { protect?: boolean } | undefined)?.protect !== true);
    expect(unprotected).toEqual([]);
  });
});

describe("production after the last release", () => {
  let project: TestProject | undefined;
  afterEach(async () => {
    await project?.remove();
  });

  test.each(Object.keys(productions))(
    "is brought up to date without losing anything stateful: %s",
    async (name) => {
      const release = await lastRelease(name);
      project = await TestProject.ofRepository("prod", productions[name], engine);
      await project.replaceConfig(merge(release.config, sinceReleases[name] ?? {}));
      await project.fillSecrets();
      await importState(project, release);
      const run = succeeded(await project.preview());
      expect(losses(run.steps)).toEqual([]);
      const kept = new Set(
        run.steps.filter(({ op }) => op === "same" || op === "update").map(({ urn }) => urn),
      );
      const stateful = release.resources.filter(isStateful);
      expect(stateful.length).toBeGreaterThan(20);
      expect(stateful.filter(({ urn }) => !kept.has(urn)).map(({ urn }) => urn)).toEqual([]);
    },
  );
});
