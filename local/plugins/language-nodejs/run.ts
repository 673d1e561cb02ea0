import { spawn, type ChildProcess } from "node:child_process";
import { createRequire } from "node:module";
import path from "node:path";
import { isObject, textAt, type JsonObject } from "../common/wire.ts";

export interface Program {
  monitorAddress: string;
  engineAddress: string;
  organization: string;
  project: string;
  stack: string;
  pwd: string;
  rootDirectory: string;
  entryPoint: string;
  args: string[];
  dryRun: boolean;
  parallel: number;
  config: Record<string, string>;
  configSecretKeys: string[];
  options: JsonObject;
}

/** Exit code by which the program's runner says that it has told the user everything. */
const LOGGED_EXIT_CODE = 32;

const running = new Set<ChildProcess>();

/** Has `cancelPrograms` end this process, too, while it runs. */
export function cancellable(child: ChildProcess): void {
  running.add(child);
  child.once("exit", () => running.delete(child));
}

/** Ends every program that is running. */
export function cancelPrograms(): void {
  for (const child of running) child.kill("SIGTERM");
}

/** Runs the user's program under the SDK's runner until it exits. */
export async function runProgram(program: Program): Promise<{ error: string; bail: boolean }> {
  let runner: string;
  try {
    runner = createRequire(path.join(program.pwd, "package.json")).resolve("@pulumi/pulumi/cmd/run");
  } catch {
    const message = `@pulumi/pulumi is not installed in ${program.pwd}: run "npm ci" there`;
    return { error: message, bail: false };
  }
  const child = spawn(
    process.execPath,
    [...nodeArguments(program.options), runner, ...runnerArguments(program)],
    {
      cwd: program.pwd,
      env: { ...process.env, ...environment(program) },
      stdio: ["ignore", "inherit", "inherit"],
    },
  );
  cancellable(child);
  return await new Promise((resolve) => {
    child.once("error", (error) => {
      resolve({ error: `the program could not be started: ${error.message}`, bail: false });
    });
    child.once("exit", (code, signal) => {
      if (code === 0) resolve({ error: "", bail: false });
      else if (code === LOGGED_EXIT_CODE) resolve({ error: "", bail: true });
      else if (code === null)
        resolve({ error: `Program exited unexpectedly: ${signal ?? "killed"}`, bail: false });
      else resolve({ error: `Program exited with non-zero exit code: ${code}`, bail: false });
    });
  });
}

const nodeArguments = (options: JsonObject): string[] =>
  textAt(options, "nodeargs").split(/\s+/).filter(Boolean);

function runnerArguments(program: Program): string[] {
  const named: [string, string][] = [
    ["monitor", program.monitorAddress],
    ["engine", program.engineAddress],
    ["organization", program.organization],
    ["project", program.project],
    ["root-directory", program.rootDirectory],
    ["stack", program.stack],
    ["pwd", program.pwd],
    ["parallel", String(program.parallel)],
  ];
  const given = named.filter(([, value]) => value !== "").flatMap(([key, value]) => [`--${key}`, value]);
  return [...given, ...(program.dryRun ? ["--dry-run"] : []), program.entryPoint || ".", ...program.args];
}

function environment(program: Program): Record<string, string> {
  const { options } = program;
  const tsconfig = textAt(options, "tsconfig");
  return {
    PULUMI_CONFIG: JSON.stringify(program.config),
    PULUMI_CONFIG_SECRET_KEYS: JSON.stringify(program.configSecretKeys),
    PULUMI_NODEJS_TYPESCRIPT: String(!isObject(options) || options.typescript !== false),
    ...(tsconfig && { PULUMI_NODEJS_TSCONFIG_PATH: path.resolve(program.rootDirectory, tsconfig) }),
  };
}
