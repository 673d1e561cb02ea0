/** The whole stack through the real engine: what an `up`, a second one, an update and a `destroy` do. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { readFile } from "node:fs/promises";
import { get } from "node:https";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { edgePorts, projectDirectory } from "../../local/stack.ts";
import { core } from "./contract/cluster.ts";
import { backupKey, caPath, edgeCertificate } from "../../local/identity.ts";
import { internalCertificates } from "../../local/internalCertificates.ts";
import { losses } from "./stateful.ts";
import { formsOf, operations, succeeded, TestProject } from "./support.ts";

const context = process.env["KUBE_CONTEXT"] ?? "";
const namespaces = ["edge", "app", "data", "monitoring"];

/** What `make up` would give the stack on this machine: its images, above all. */
async function machineSettings(): Promise<Record<string, unknown>> {
  const file = await readFile(join(projectDirectory(), "Pulumi.dev.yaml"), "utf8");
  const { config } = parse(file) as { config: Record<string, unknown> };
  const sections = ["cluster", "images", "edge", "backups"].map((name) => `groundwork:${name}`);
  const { grafana } = (config["groundwork:monitoring"] ?? {}) as { grafana?: boolean };
  return {
    ...Object.fromEntries(sections.map((key) => [key, config[key]])),
    // Not how many there are of it, which is the choice of the last `make up`.
    "groundwork:monitoring": { grafana },
  };
}

async function existingNamespaces(): Promise<string[]> {
  const { items } = await core.listNamespace();
  return items.map(({ metadata }) => metadata?.name ?? "").filter((name) => namespaces.includes(name));
}

/** What a client of the edge is sent. */
async function answerOf(path: string): Promise<string> {
  const ca = await readFile(caPath());
  return new Promise((resolve, reject) => {
    get({ host: "localhost", port: edgePorts.https, path, ca, agent: false }, (answer) => {
      text(answer).then(resolve, reject);
    }).on("error", reject);
  });
}

describe("the dev stack", () => {
  let project: TestProject;
  let identity: string;
  beforeAll(async () => {
    const running = await existingNamespaces();
    if (running.length > 0) {
      throw new Error(
        `the namespaces ${running.join(", ")} exist: the dev stack is up. Run \`make down\` first.`,
      );
    }
    project = await TestProject.ofRepository("dev", await machineSettings());
    identity = (await backupKey()).identity;
    await project.secret("groundwork:tlsBundle", await edgeCertificate(["localhost"]));
    for (const [key, value] of Object.entries(await internalCertificates())) await project.secret(key, value);
    await project.secret("groundwork:ageIdentity", identity);
  });
  afterAll(async () => {
    await project.dispose();
  });

  test("comes up from nothing although a first run is killed at a random point, with every workload ready", async () => {
    const made = 1 + Math.floor(Math.random() * 100);
    const killed = project.start(["up", "--yes", "--skip-preview"]);
    await killed.printed(/ created \(/, made);
    killed.process.kill("SIGKILL");
    expect((await killed.done).exitCode).not.toBe(0);
    process.stdout.write(`killed when ${made} resources had been created\n`);
    await project.recover();
    const run = succeeded(await project.up());
    expect(run.text).toContain("https://localhost:30443");
    const pods = await core.listPodForAllNamespaces();
    const own = pods.items.filter(({ metadata }) => namespaces.includes(metadata?.namespace ?? ""));
    const unready = own.filter(({ status }) =>
      status?.phase === "Succeeded" ? false : !status?.containerStatuses?.every(({ ready }) => ready),
    );
    expect(own.length).toBeGreaterThan(7);
    expect(unready.map(({ metadata }) => metadata?.name)).toEqual([]);
  });

  test("is not changed by a second up", async () => {
    expect(succeeded(await project.up()).changes).toEqual([]);
  });

  test("shows no drift on refresh", async () => {
    succeeded(await project.refresh());
    expect(succeeded(await project.preview()).changes).toEqual([]);
  });

  test("is updated only where it must be", async () => {
    await project.setConfig({ "groundwork:app": { logLevel: "debug" } });
    const run = succeeded(await project.up());
    expect(operations(run, "app")).toEqual(["update"]);
    expect(run.changes.map(({ name }) => name)).toEqual(expect.arrayContaining(["app"]) as string[]);
    expect(run.changes.filter(({ name }) => !["app", "app-migrate", "worker"].includes(name))).toEqual([]);
  });

  test("grows volumes while what uses them runs", async () => {
    const claim = { namespace: "data", name: "data-postgres-0" };
    const server = { namespace: "data", name: "postgres-0" };
    const uid = (await core.readNamespacedPod(server)).metadata?.uid;
    await project.setConfig({ "groundwork:postgres": { storageGiB: 3 } });
    const run = succeeded(await project.up());
    expect(operations(run, claim.name)).toEqual(["update"]);
    expect(losses(run.steps)).toEqual([]);
    const size = async (): Promise<string | undefined> =>
      (await core.readNamespacedPersistentVolumeClaim(claim)).status?.capacity?.["storage"];
    await expect.poll(size, { timeout: 120_000, interval: 1_000 }).toBe("3Gi");
    expect((await core.readNamespacedPod(server)).metadata?.uid).toBe(uid);
    expect(succeeded(await project.up()).changes).toEqual([]);
  });

  // By then the job of the version before was deleted for the new one's.
  test("goes back to the version before after a run that was killed in a migration", async () => {
    const images = (await machineSettings())["groundwork:images"] as Record<string, string>;
    await project.setConfig({ "groundwork:images": { ...images, app: "groundwork/app:does-not-exist" } });
    const killed = project.start(["up", "--yes", "--skip-preview"]);
    const labelSelector = "app.kubernetes.io/name=app-migrate";
    const reasons = async (): Promise<(string | undefined)[]> =>
      (await core.listNamespacedPod({ namespace: "app", labelSelector })).items.map(
        ({ status }) => status?.containerStatuses?.[0]?.state?.waiting?.reason,
      );
    await expect
      .poll(reasons, { timeout: 90_000, interval: 500 })
      .toContainEqual(expect.stringMatching(/ErrImagePull|ImagePullBackOff/));
    killed.process.kill("SIGKILL");
    expect((await killed.done).exitCode).not.toBe(0);
    await project.setConfig({ "groundwork:images": images });
    await project.recover();
    succeeded(await project.up());
    expect(succeeded(await project.up()).changes).toEqual([]);
  });

  test("refuses a configuration with mistakes before anything changes, and names them all", async () => {
    await project.setConfig({
      "groundwork:app": { replicas: 0 },
      "groundwork:edge": { hosts: ["not a host"] },
    });
    const run = await project.up();
    await project.setConfig({
      "groundwork:app": { replicas: 1 },
      "groundwork:edge": { hosts: ["localhost"] },
    });
    expect(run.exitCode).not.toBe(0);
    expect(run.text).toMatch(/groundwork:app\.replicas/);
    expect(run.text).toMatch(/groundwork:edge\.hosts/);
    expect(run.changes).toEqual([]);
  });

  test("keeps every secret unreadable in its state, its files and what it prints", async () => {
    const { resources } = await project.state();
    const names = resources
      .filter(({ type }) => type === "kubernetes:core/v1:Secret")
      .map(({ id }) => id ?? "");
    expect(names.length).toBeGreaterThan(5);
    const values = new Map([["the age identity", identity]]);
    for (const id of names) {
      const [namespace = "", name = ""] = id.split("/");
      const { data } = await core.readNamespacedSecret({ namespace, name });
      for (const [file, value] of Object.entries(data ?? {}))
        values.set(`${id} ${file}`, Buffer.from(value, "base64").toString());
    }
    for (const file of ["jwt-keys.json", "field-keys.json"])
      expect(
        [...values.keys()].filter((what) => what.endsWith(` ${file}`)),
        file,
      ).not.toEqual([]);
    const shown = (await project.run(["stack", "output"])).text + (await project.preview()).text;
    for (const [what, value] of values) {
      expect(await project.filesWith(value), what).toEqual([]);
      expect(formsOf(value).filter((form) => shown.includes(form)).length, what).toBe(0);
    }
  });

  // The Deployment is given up after 120 s without progress; the resource's own time-out is twice that and more.
  test("says why a pod does not start, before the time-out", { timeout: 600_000 }, async () => {
    const started = Date.now();
    const images = (await machineSettings())["groundwork:images"] as Record<string, string>;
    await project.setConfig({ "groundwork:images": { ...images, nginx: "groundwork/nginx:does-not-exist" } });
    const run = await project.up();
    await project.setConfig({ "groundwork:images": images });
    expect(run.exitCode).not.toBe(0);
    expect(run.text).toMatch(/ErrImagePull|ImagePullBackOff/);
    expect(Date.now() - started).toBeLessThan(240_000);
    succeeded(await project.up());
  });

  test("runs any other container in the app's place, by configuration alone", async () => {
    const { postgres } = (await machineSettings())["groundwork:images"] as Record<string, string>;
    const program = `
import http.server, os
class Other(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"another container, asked for " + self.path.encode())
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Other).serve_forever()`;
    await project.setConfig({
      "groundwork:images": { app: postgres },
      "groundwork:app": {
        container: {
          command: ["python3", "-c", program],
          port: 8000,
          tls: false,
          livenessPath: "/alive",
          readinessPath: "/able",
          migration: [],
        },
      },
      "groundwork:workers": { replicas: 0 },
    });
    succeeded(await project.up());
    expect(await answerOf("/api/v1/orders")).toBe("another container, asked for /api/v1/orders");
  });

  test("leaves nothing behind when it is destroyed", async () => {
    succeeded(await project.destroy());
    expect(await existingNamespaces()).toEqual([]);
    const volumes = await core.listPersistentVolumeClaimForAllNamespaces();
    expect(volumes.items.filter(({ metadata }) => namespaces.includes(metadata?.namespace ?? ""))).toEqual(
      [],
    );
    expect((await project.state()).resources.filter(({ type }) => type !== "pulumi:pulumi:Stack")).toEqual(
      [],
    );
  });
});

describe("the prod stack", () => {
  let project: TestProject;
  beforeAll(async () => {
    project = await TestProject.ofRepository("prod", { "groundwork:cluster": { context } });
  });
  afterAll(async () => {
    await project.dispose();
  });

  test("previews through the same program, with its differences", async () => {
    const run = succeeded(await project.preview());
    const created = (type: string) =>
      run.steps.filter((step) => step.op === "create" && step.type === type).length;
    expect(created("kubernetes:core/v1:Secret")).toBe(0);
    expect(created("azure-native:keyvault:Secret")).toBeGreaterThan(5);
    expect(created("azure-native:keyvault:Vault")).toBe(1);
    expect(created("kubernetes:secrets-store.csi.x-k8s.io/v1:SecretProviderClass")).toBeGreaterThan(3);
    expect(created("kubernetes:apps/v1:StatefulSet")).toBeGreaterThanOrEqual(3);
  });

  test("refuses an image without a digest", async () => {
    await project.setConfig({ "groundwork:images": { nginx: "nginx:latest" } });
    const run = await project.preview();
    expect(run.exitCode).not.toBe(0);
    expect(run.text).toContain(
      'groundwork:images.nginx: production runs images by digest (found "nginx:latest"',
    );
  });
});
