/** The test commands: each brings what its tests need, runs them, and leaves a report for the total. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { delimiter } from "node:path";
import { currentCluster, kubectl, type Cluster } from "./cluster.ts";
import { testTools } from "./debian.ts";
import { checkedOut, recordSuccess } from "./delivery/evidence.ts";
import { caPath } from "./identity.ts";
import { pythonTool } from "./pythonTool.ts";
import { repository } from "./stack.ts";
import { say } from "./system.ts";
import { baseUrl, configure, prepare, withKubeconfig } from "./up.ts";

type Suite = "test" | "engine" | "cluster" | "chaos";

interface Step {
  readonly title: string;
  readonly command: readonly string[];
  readonly directory?: string;
  readonly env?: NodeJS.ProcessEnv;
}

const tlsScanner = {
  name: "sslyze",
  version: "6.3.1",
  purpose: "grading the edge's TLS",
  seconds: 20,
} as const;

/** Runs a suite; stops at the first step that fails, whose exit status it gives. */
export async function runTests(suite: Suite): Promise<number> {
  const tree = await checkedOut();
  for (const { title, command, directory = repository, env = process.env } of await stepsOf(suite)) {
    say(`\n${title}`);
    const started = Date.now();
    const code = await execute(command, directory, env);
    say(`${title}: ${code === 0 ? "ok" : "failed"}, ${((Date.now() - started) / 1000).toFixed(1)} s`);
    if (code !== 0) return code;
  }
  if (suite !== "chaos") await recordSuccess(suite, tree);
  return 0;
}

async function stepsOf(suite: Suite): Promise<Step[]> {
  if (suite === "test") {
    const env = { ...process.env, PATH: `${await testTools()}${delimiter}${process.env["PATH"] ?? ""}` };
    return [
      { title: "lint", command: ["npm", "run", "--silent", "lint"] },
      { title: "types", command: ["npm", "run", "--silent", "types"] },
      { title: "unit tests", command: vitest("unit", "--project", "unit", "--coverage"), env },
      { title: "app tests", command: vitest("app", "--coverage"), directory: join(repository, "app"), env },
    ];
  }
  if (suite === "engine") {
    const world = withKubeconfig(await prepare());
    await configure(world);
    const { engine, cluster } = world;
    const env = { ...engine.env, KUBE_CONTEXT: cluster.context };
    return [{ title: "engine tests", command: vitest("engine", "--project", "engine"), env }];
  }
  const cluster = await currentCluster();
  const env = {
    ...process.env,
    KUBECONFIG: cluster.kubeconfig,
    KUBE_CONTEXT: cluster.context,
    EDGE_URL: baseUrl,
    EDGE_CA: caPath(),
    TLS_SCANNER_PYTHON: await pythonTool(tlsScanner),
  };
  const left = suite === "cluster" ? await leftOut(cluster) : [];
  return [{ title: `${suite} tests`, command: vitest(suite, "--project", suite, ...left), env }];
}

/** Logs and traces are asked for where they are collected. A skipped test would count as one that did not pass. */
async function leftOut(cluster: Cluster): Promise<string[]> {
  const query = ["get", "statefulset", "loki", "--namespace=monitoring", "--ignore-not-found"];
  if (process.env["LOGS"] === "1" || (await kubectl(cluster, query)) !== "") return [];
  say("cluster tests: without those of logs and traces, which `make up LOGS=1` brings");
  return ["--exclude", "tests/cluster/logs.test.ts"];
}

/** With `TEST_REPORTS` set, also writes the counts there, for `.ci/run` to add up. */
function vitest(name: string, ...args: string[]): string[] {
  const reports = process.env["TEST_REPORTS"];
  const report =
    reports === undefined ? [] : ["--reporter=json", `--outputFile.json=${join(reports, `${name}.json`)}`];
  return ["npx", "vitest", "run", ...args, "--reporter=default", ...report];
}

function execute(
  [command = "", ...args]: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env, stdio: "inherit" });
    child.on("error", reject);
    child.on("close", (code) => {
      resolve(code ?? 1);
    });
  });
}
