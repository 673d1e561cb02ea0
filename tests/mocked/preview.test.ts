/** What `make preview` gives the program, on a cluster that was there before; Pulumi and kubectl are stand-ins. */
import { X509Certificate } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { parse, stringify } from "yaml";
import { readConfig } from "../../components/config.ts";
import type * as engine from "../../local/engine.ts";
import { withLock } from "../../local/lock.ts";
import { merge, projectDirectory } from "../../local/stack.ts";
import { asProgramSees } from "../../local/stackValues.ts";
import type * as system from "../../local/system.ts";
import { preview } from "../../local/up.ts";

const root = join(import.meta.dirname, "../..");
const committed = vi.hoisted((): Record<string, object> => ({}));
vi.mock("../../local/system.ts", async (original) => {
  const real = await original<typeof system>();
  const readIfPresent = (path: string): Promise<string | undefined> => {
    const config = path.startsWith(root) ? committed[basename(path)] : undefined;
    return config ? Promise.resolve(stringify({ config })) : real.readIfPresent(path);
  };
  return { ...real, readIfPresent, say: () => undefined };
});
vi.mock("../../local/engine.ts", (): Partial<typeof engine> => ({
  prepareEngine: () =>
    Promise.resolve({ pulumi: join(directory, "pulumi"), env: process.env, project: projectDirectory() }),
}));

/** Says what it is given: secrets, and whether others are kept out while it compares. */
const pulumi = `#!/bin/sh
cd "$(dirname "$0")"
case $1 in
  config) cat >"set-$6" ;;
  preview) test -e cache/locks/stack.json && touch previewed ;;
esac
`;

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "groundwork-preview-"));
  vi.stubEnv("GROUNDWORK_CACHE", join(directory, "cache"));
  vi.stubEnv("KUBECONFIG", join(directory, "kubeconfig"));
  vi.stubEnv("PATH", `${directory}:/usr/bin:/bin`);
  await writeFile(join(directory, "kubeconfig"), "");
  await writeFile(join(directory, "kubectl"), "#!/bin/sh\n", { mode: 0o755 });
  await writeFile(join(directory, "pulumi"), pulumi, { mode: 0o755 });
  committed["Pulumi.dev.yaml"] = {
    "groundwork:cluster": { context: "shared" },
    "groundwork:images": { app: "app:1", postgres: "postgres:1", exporters: "exporters:1" },
  };
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(directory, { recursive: true });
});

/** Production from an empty subscription, as docs/azure.md has it set up: its secrets by `pulumi config set --secret`. */
async function production(): Promise<Record<string, unknown>> {
  const { config } = parse(await readFile(join(root, "Pulumi.prod.yaml"), "utf8")) as {
    config: Record<string, Record<string, unknown>>;
  };
  const { existing: _, ...azure } = config["groundwork:azure"] ?? {};
  const made = { cluster: "create", access: "allowlist", allowlist: ["203.0.113.7/32"] };
  const admins = { adminGroupIds: ["00000000-0000-0000-0000-000000000000"] };
  const ciphertext = { secure: "v1:bm90IG91cnM=:b3VyIHBhc3NwaHJhc2U=" };
  const secrets = ["internalCa", "postgresTls", "ageIdentity", "registryCredentials"];
  return {
    ...config,
    "groundwork:cluster": {},
    "groundwork:azure": { ...azure, ...made, aks: admins },
    "groundwork:appFiles": { AI_KEYS_FILE: ciphertext },
    ...Object.fromEntries(secrets.map((name) => [`groundwork:${name}`, ciphertext])),
  };
}

/** What the program would find wrong with what the preview has left for it. */
async function problems(): Promise<readonly string[]> {
  const text = await readFile(join(projectDirectory(), "Pulumi.prod.yaml"), "utf8");
  expect(text).not.toContain("secure:");
  const { config } = parse(text) as { config: Record<string, unknown> };
  const keys = ["appFiles", "registryCredentials", "tlsBundle", "internalCa", "postgresTls", "redisTls"];
  const rest = ["appTls", "ageIdentity", "slackWebhookUrl", "deadMansSwitchUrl"];
  const secrets = await Promise.all(
    [...keys, ...rest].map(async (name) => {
      const key = `groundwork:${name}`;
      return [key, await readFile(join(directory, `set-${key}`), "utf8")] as const;
    }),
  );
  const given = Object.fromEntries(secrets);
  return readConfig({ ...asProgramSees(config), ...given }, new Set(Object.keys(given))).problems;
}

test("a production that makes its cluster is previewed with placeholders of its secrets, set or not", async () => {
  committed["Pulumi.prod.yaml"] = await production();
  expect(await preview("prod")).toBe(0);
  expect(await problems()).toEqual([]);
});

test("a secret that stands in plain text is left for the program to refuse", async () => {
  const pem = "-----BEGIN CERTIFICATE-----";
  committed["Pulumi.prod.yaml"] = merge(await production(), { "groundwork:internalCa": pem });
  expect(await preview("prod")).toBe(0);
  const text = await readFile(join(projectDirectory(), "Pulumi.prod.yaml"), "utf8");
  expect(text).toContain(`groundwork:internalCa: ${pem}`);
  expect(existsSync(join(directory, "set-groundwork:internalCa"))).toBe(false);
});

test("a preview holds the stack's lock to its end, and waits for nobody else's", async () => {
  committed["Pulumi.prod.yaml"] = await production();
  await expect(withLock("stack", () => preview("prod"))).rejects.toThrow('the "stack" lock');
  expect(existsSync(projectDirectory())).toBe(false);
  await preview("prod");
  expect(existsSync(join(directory, "previewed"))).toBe(true);
});

test(
  "dev keeps what its file says of the cluster, and the edge's certificate has the edge's names",
  { timeout: 30_000 },
  async () => {
    const kept = {
      ...committed["Pulumi.dev.yaml"],
      "groundwork:cluster": { context: "shared", apiServerCidrs: ["192.0.2.1/32"] },
      "groundwork:edge": { hosts: ["dev.example.com"], trustedProxies: ["192.0.2.0/24"] },
      "groundwork:monitoring": { grafana: false },
    };
    committed["Pulumi.dev.yaml"] = kept;
    expect(await preview("dev")).toBe(0);
    const text = await readFile(join(projectDirectory(), "Pulumi.dev.yaml"), "utf8");
    expect((parse(text) as { config: object }).config).toMatchObject(kept);
    const bundle = await readFile(join(directory, "set-groundwork:tlsBundle"), "utf8");
    expect(new X509Certificate(bundle).checkHost("dev.example.com")).toBe("dev.example.com");
  },
);
