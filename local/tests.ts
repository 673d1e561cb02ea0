/** The test commands: each brings what its tests need, runs them, and leaves a report for the total. */
import { spawn } from "node:child_process";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { currentCluster, kubectl, type Cluster } from "./cluster.ts";
import { configure } from "./configure.ts";
import { testTools } from "./debian.ts";
import { checkedOut, recordSuccess } from "./delivery/evidence.ts";
import { edgeUrl } from "./devSettings.ts";
import { buildGoTool } from "./gotools.ts";
import { caPath } from "./identity.ts";
import { withLock } from "./lock.ts";
import { contextName } from "./node/layout.ts";
import { pythonTool } from "./pythonTool.ts";
import { repository } from "./stack.ts";
import { say, UserError } from "./system.ts";
import { prepare, withKubeconfig } from "./up.ts";

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

/** For what was told to end. */
const graceMs = 10_000;

/** Runs a suite and gives its exit status. */
export async function runTests(suite: Suite): Promise<number> {
  const tree = await checkedOut();
  const run = async (): Promise<number> => runLanes(await lanesOf(suite));
  // Its stacks are where dev's would be, and begin with what is configured for that.
  const status = await (suite === "engine" ? withLock("stack", run) : run());
  if (status === 0 && suite !== "chaos") await recordSuccess(suite, tree);
  return status;
}

/** Runs lanes beside each other; the first step that fails ends what runs beside it, and gives the exit status. */
export async function runLanes(lanes: readonly (readonly Step[])[]): Promise<number> {
  const ending = new AbortController();
  const interrupted = (): void => {
    ending.abort();
  };
  process.once("SIGINT", interrupted).once("SIGTERM", interrupted);
  const codes = await Promise.all(lanes.map((steps) => runLane(steps, lanes.length > 1, ending)));
  process.off("SIGINT", interrupted).off("SIGTERM", interrupted);
  return codes.find((code) => code !== 0) ?? (ending.signal.aborted ? 1 : 0);
}

/** Its steps one by one, until one fails, whose exit status it gives, or is ended. */
async function runLane(steps: readonly Step[], beside: boolean, ending: AbortController): Promise<number> {
  for (const step of steps) {
    say(`\n${step.title}`);
    const started = Date.now();
    const code = await execute(step, beside, ending.signal);
    if (code === 0) say(`${step.title}: ok, ${((Date.now() - started) / 1000).toFixed(1)} s`);
    else if (ending.signal.aborted) {
      say(`${step.title}: ended`);
      return 0;
    } else {
      say(`${step.title}: failed, ${((Date.now() - started) / 1000).toFixed(1)} s`);
      ending.abort();
      return code;
    }
    if (ending.signal.aborted) return 0;
  }
  return 0;
}

/** Steps that follow one another, in lanes that run beside each other. */
async function lanesOf(suite: Suite): Promise<Step[][]> {
  if (suite === "test") {
    const env = { ...process.env, PATH: `${await testTools()}${delimiter}${process.env["PATH"] ?? ""}` };
    // The app's tests wait for servers and processes, and so leave much of a processor to the others.
    return [
      [
        { title: "lint and types", command: ["npm", "run", "--silent", "lint"] },
        {
          title: "unit tests",
          command: vitest("unit", "--project", "unit", "--project", "mocked", "--coverage"),
          env,
        },
      ],
      [{ title: "app tests", command: vitest("app", "--coverage"), directory: join(repository, "app"), env }],
    ];
  }
  if (suite === "engine") {
    const world = withKubeconfig(await prepare());
    await configure(world);
    const { engine, cluster } = world;
    const env = { ...engine.env, KUBE_CONTEXT: cluster.context };
    return [[{ title: "engine tests", command: vitest("engine", "--project", "engine"), env }]];
  }
  if (suite === "chaos") timesAskedFor();
  const cluster = await currentCluster();
  const env = {
    ...process.env,
    KUBECONFIG: cluster.kubeconfig,
    KUBE_CONTEXT: cluster.context,
    EDGE_URL: await edgeUrl(),
    EDGE_CA: caPath(),
    TLS_SCANNER_PYTHON: await pythonTool(tlsScanner),
  };
  if (suite === "chaos") {
    const programs = await secretsDriver();
    return [[{ title: "chaos tests", command: left(faultsLeftOut(), suite), env: { ...env, ...programs } }]];
  }
  const beside = cluster.context === contextName;
  const programs = beside ? { ...(await secretsDriver()), ...(await scalers()) } : {};
  const without = [
    ...(await withoutLogs(cluster)),
    ...(beside ? [] : withoutKeyVault(cluster)),
    ...("KEDA" in programs ? [] : withoutScalers()),
  ];
  return [[{ title: "cluster tests", command: left(without, suite), env: { ...env, ...programs } }]];
}

/** The tests of a suite that are not in these files. */
function left(files: readonly string[], suite: Suite): string[] {
  return vitest(suite, "--project", suite, ...files.map((file) => `--exclude=${file}`));
}

/** What mounts production's secrets, as processes beside those of this machine's own node. */
async function secretsDriver(): Promise<NodeJS.ProcessEnv> {
  return {
    SECRETS_CSI: await buildGoTool("secrets-csi"),
    KEYVAULT_PROVIDER: await buildGoTool("keyvault-provider"),
  };
}

/** `make test-cluster SCALERS=1`: what makes pods more and fewer on a cluster that has it, in pods of this machine's own node. */
async function scalers(): Promise<NodeJS.ProcessEnv> {
  if (process.env["SCALERS"] !== "1") return {};
  return { KEDA: await buildGoTool("keda"), METRICS_SERVER: await buildGoTool("metrics-server") };
}

function withoutScalers(): string[] {
  say(
    `cluster tests: without those of scaling, which \`make test-cluster SCALERS=1\` brings to ${contextName}`,
  );
  return ["tests/cluster/scaling.test.ts"];
}

function withoutKeyVault({ context }: Cluster): string[] {
  say(
    `cluster tests: without those of Key Vault's driver, which run beside ${contextName} and not ${context}`,
  );
  return ["tests/cluster/keyVault.test.ts"];
}

/** The tests of logs and traces, where there are none. A skipped test would count as one that did not pass. */
async function withoutLogs(cluster: Cluster): Promise<string[]> {
  const query = ["get", "statefulset", "loki", "--namespace=monitoring", "--ignore-not-found"];
  if (process.env["LOGS"] === "1" || (await kubectl(cluster, query)) !== "") return [];
  say("cluster tests: without those of logs and traces, which `make up LOGS=1` brings");
  return ["tests/cluster/logs.test.ts"];
}

/** A fault that has a file of its own, `tests/chaos/release.test.ts`. */
export const badRelease = "bad-release";

/** Names in FAULT, with commas between; none of them asks for all. */
export function faultsAskedFor(): string[] {
  return (process.env["FAULT"] ?? "").split(",").filter((name) => name !== "");
}

/** How often each of them is to be made: TIMES. @throws {UserError} */
export function timesAskedFor(): number {
  const times = process.env["TIMES"] ?? "1";
  if (!/^[1-9]\d*$/.test(times))
    throw new UserError(`TIMES is "${times}" and may be a whole number from 1: make chaos TIMES=5`);
  return Number(times);
}

/** Files of `tests/chaos` that make none of the faults that are asked for. */
function faultsLeftOut(): string[] {
  const faults = faultsAskedFor();
  const releases = faults.includes(badRelease);
  return [
    ...(faults.length > 0 && !releases ? ["tests/chaos/release.test.ts"] : []),
    ...(releases && faults.length === 1 ? ["tests/chaos/faults.test.ts"] : []),
  ];
}

/** With `TEST_REPORTS` set, also writes the counts there, for `.ci/run` to add up. */
function vitest(name: string, ...args: string[]): string[] {
  const reports = process.env["TEST_REPORTS"];
  const report =
    reports === undefined ? [] : ["--reporter=json", `--outputFile.json=${join(reports, `${name}.json`)}`];
  return ["npx", "vitest", "run", ...args, "--reporter=default", ...report];
}

/** Beside others, each line that a step says has its name in front, and it can be ended with all that it has started. */
function execute(
  { title, command: [command = "", ...args], directory = repository, env = process.env }: Step,
  beside: boolean,
  ending: AbortSignal,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const output = beside ? "pipe" : "inherit";
    const options = { cwd: directory, env, detached: beside };
    const child = spawn(command, args, { ...options, stdio: ["ignore", output, output] });
    const kill = (signal: NodeJS.Signals): void => {
      if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
      if (beside) process.kill(-child.pid, signal);
      else child.kill(signal);
    };
    const end = (): void => {
      kill("SIGTERM");
      setTimeout(kill, graceMs, "SIGKILL").unref();
    };
    ending.addEventListener("abort", end);
    for (const stream of [child.stdout, child.stderr]) {
      if (stream === null) continue;
      createInterface(stream).on("line", (line) => {
        process.stdout.write(`${title} | ${line}\n`);
      });
    }
    child.on("error", reject);
    child.on("close", (code) => {
      ending.removeEventListener("abort", end);
      resolve(code ?? 1);
    });
  });
}
