/** What workflows do at Azure, with programs that only write down how they were called, and a GitHub that gives tokens. */
import { readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { cloudLogin } from "../../local/delivery/cloud.ts";
import { deploy, drift, pushImages } from "../../local/delivery/deploy.ts";
import { withWorkloadIdentity } from "../../local/delivery/workloadIdentity.ts";

/** Writes down its arguments, and what stands in the token's file, its mode, and the sign-in that it was given. */
const recorder = `#!/usr/bin/env bash
{
  echo "$(basename "$0") $*"
  for argument in "$@"; do [[ $argument == @* ]] && echo "token $(cat "\${argument#@}") $(stat -c %a "\${argument#@}")"; done
  [[ -n \${AZURE_FEDERATED_TOKEN_FILE:-} ]] && echo "file $(cat "$AZURE_FEDERATED_TOKEN_FILE")"
} >> "$CALLS"
[[ "$1 $2" == "buildx inspect" ]] && exit 1
[[ "$1 $2" == "buildx imagetools" ]] && echo sha256:1
exit \${FAILS:-0}
`;

let directory: string;
let github: Server;
let tokens = 0;
let printed: string[];
const calls = (): string[] => readFileSync(join(directory, "calls"), "utf8").trim().split("\n");

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "groundwork-cloud-"));
  for (const name of ["az", "kubelogin", "pulumi", "docker"])
    writeFileSync(join(directory, name), recorder, { mode: 0o755 });
  writeFileSync(join(directory, "calls"), "");
  github = createServer((request, response) => {
    const asked = new URL(request.url ?? "", "http://github");
    const good =
      request.headers.authorization === "Bearer of the job" &&
      asked.searchParams.get("audience") === "api://AzureADTokenExchange";
    response.writeHead(good ? 200 : 401).end(JSON.stringify({ value: `token${++tokens}` }));
  });
  await new Promise<void>((resolve) => github.listen(0, "127.0.0.1", resolve));
  tokens = 0;
  const { port } = github.address() as AddressInfo;
  const environment = {
    PATH: `${directory}${delimiter}${process.env["PATH"] ?? ""}`,
    CALLS: join(directory, "calls"),
    ACTIONS_ID_TOKEN_REQUEST_URL: `http://127.0.0.1:${port}/?api-version=2`,
    ACTIONS_ID_TOKEN_REQUEST_TOKEN: "of the job",
    AZURE_CLIENT_ID: "client",
    AZURE_TENANT_ID: "tenant",
    PULUMI_BACKEND_URL: "azblob://state",
    GITHUB_PATH: undefined,
    GITHUB_ENV: undefined,
    AAD_LOGIN_METHOD: undefined,
    CLUSTER: undefined,
    RUNNER_TEMP: undefined,
    AZURE_CONFIG_DIR: undefined,
    KUBECONFIG: undefined,
    REGISTRY: undefined,
  };
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
  printed = [];
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    printed.push(String(text));
    return true;
  });
});
afterEach(async () => {
  vi.restoreAllMocks();
  vi.useRealTimers();
  vi.unstubAllEnvs();
  github.close();
  await rm(directory, { recursive: true });
});

describe("the sign-in of a workflow", () => {
  test("gives its token to az in a file that nobody else can read, and has GitHub hide it", async () => {
    await cloudLogin();
    const [login = "", token] = calls();
    expect(login).toMatch(
      /^az login --service-principal --username client --tenant tenant --federated-token @/,
    );
    expect(login).not.toContain("token1");
    expect(token).toBe("token token1 600");
    expect(printed).toEqual(["\n::add-mask::token1\n"]);
  });

  test("does not quote the token when az refuses it", async () => {
    vi.stubEnv("FAILS", "1");
    const refused: unknown = await cloudLogin().catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(Error);
    expect(String(refused)).not.toContain("token1");
  });

  test("brings kubelogin and the cluster's context to the steps that follow", async () => {
    const path = join(directory, "path");
    writeFileSync(path, "");
    vi.stubEnv("GITHUB_PATH", path);
    const environment = join(directory, "environment");
    vi.stubEnv("GITHUB_ENV", environment);
    vi.stubEnv("AAD_LOGIN_METHOD", "workloadidentity");
    vi.stubEnv("CLUSTER", "group/name");
    await cloudLogin();
    expect(readFileSync(path, "utf8")).toBe(`${directory}\n`);
    expect(readFileSync(environment, "utf8")).toBe("CONTEXT=name\n");
    expect(calls().at(-1)).toBe(
      "az aks get-credentials --resource-group group --name name --overwrite-existing",
    );
  });

  test("leaves neither its own sign-in nor a cluster's to the next job on the same runner", async () => {
    const environment = join(directory, "environment");
    vi.stubEnv("GITHUB_ENV", environment);
    vi.stubEnv("RUNNER_TEMP", "/temp");
    await cloudLogin();
    const lines = readFileSync(environment, "utf8").trim().split("\n");
    expect(lines).toEqual(["AZURE_CONFIG_DIR=/temp/azure", "KUBECONFIG=/temp/kubeconfig"]);
    expect(lines).toEqual(
      ["AZURE_CONFIG_DIR", "KUBECONFIG"].map((name) => `${name}=${process.env[name] ?? ""}`),
    );
  });

  test("refuses a cluster that kubelogin would ask a person for", async () => {
    vi.stubEnv("CLUSTER", "group/name");
    await expect(cloudLogin()).rejects.toThrow("AAD_LOGIN_METHOD is not set");
  });

  test("outlasts GitHub's tokens, and leaves no file behind", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    const left = await withWorkloadIdentity(async ({ AZURE_FEDERATED_TOKEN_FILE: file = "" }) => {
      expect(readFileSync(file, "utf8")).toBe("token1");
      vi.advanceTimersByTime(2 * 60_000);
      await vi.waitFor(() => {
        expect(readFileSync(file, "utf8")).toBe("token2");
      });
      return file;
    });
    expect(() => readFileSync(left)).toThrow("ENOENT");
  });

  test("changes nothing where there is no workflow", async () => {
    vi.stubEnv("ACTIONS_ID_TOKEN_REQUEST_URL", "");
    expect(await withWorkloadIdentity((env) => Promise.resolve(env))).toBe(process.env);
  });
});

describe("make deploy", () => {
  const digest = `sha256:${"1".repeat(64)}`;

  test("previews first and holds production to every rule", async () => {
    expect(await deploy("prod", "")).toBe(0);
    const [up = "", identity] = calls();
    expect(up).toMatch(/^pulumi up --yes --stack prod --policy-pack \S+\/policy$/);
    expect(identity).toBe("file token1");
  });

  test("holds development to its own, and has it run the images that it is given", async () => {
    await deploy("dev", `app=example.com/app@${digest} postgres=example.com/postgres@${digest}`);
    expect(calls()[0]).toContain(
      `--config-path --config groundwork:images.app=example.com/app@${digest} --config groundwork:images.postgres=`,
    );
    expect(calls()[0]).toMatch(/--policy-pack \S+ --policy-pack-config \S+\/policy\/development\.json$/);
  });

  test.each(["app=example.com/app:1", "nginx=example.com/nginx@" + digest, "app="])(
    "refuses %s",
    async (images) => {
      await expect(deploy("dev", images)).rejects.toThrow("may have app, postgres, exporters");
      expect(calls()).toEqual([""]);
    },
  );

  test("signs the check for drift in, too", async () => {
    await drift("prod");
    expect(calls()[1]).toBe("file token1");
  });
});

test("images are built by a builder that can attach bills of materials, made when there is none", async () => {
  await pushImages("example.com/groundwork");
  const docker = calls().filter((call) => call.startsWith("docker buildx"));
  expect(docker[1]).toBe("docker buildx create --name groundwork --driver docker-container");
  const builds = docker.filter((call) => call.startsWith("docker buildx build "));
  expect(builds).toHaveLength(3);
  for (const build of builds) expect(build).toContain("--builder groundwork --push --sbom=true");
  expect(printed.map((line) => line.split("=")[0])).toEqual(["app", "postgres", "exporters"]);
});
