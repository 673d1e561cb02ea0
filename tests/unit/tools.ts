import { spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** Programs whose own checks the tests run, and the Debian 13 package of each. */
const packages = {
  nginx: "nginx",
  promtool: "promtool",
  amtool: "prometheus-alertmanager",
  python3: "python3",
} as const;

export type Tool = keyof typeof packages;

/**
 * Path of a program: from `NGINX_BINARY` (or `PROMTOOL_…`, `AMTOOL_…`, `PYTHON3_…`), else from PATH. (`NGINX` itself means something else to nginx.)
 * @throws {Error} saying how to get it. A check that cannot run must not look like one that passed.
 */
export function tool(name: Tool): string {
  const variable = `${name.toUpperCase()}_BINARY`;
  const places = (process.env["PATH"] ?? "").split(delimiter).map((folder) => join(folder, name));
  const found = [process.env[variable] ?? "", ...places].find(isExecutable);
  if (found === undefined) {
    throw new Error(
      `${name} was not found: set ${variable} to its path, or put it on PATH. ` +
        `It is in Debian 13's package "${packages[name]}"; \`make test\` provides it`,
    );
  }
  return found;
}

/** Runs a program's check; `output` holds both of its streams. */
export function runTool(
  name: Tool,
  args: readonly string[],
): { readonly passed: boolean; readonly output: string } {
  const { status, stdout, stderr, error } = spawnSync(tool(name), args, { encoding: "utf8" });
  if (error) throw error;
  return { passed: status === 0, output: stdout + stderr };
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return path !== "";
  } catch {
    return false;
  }
}
