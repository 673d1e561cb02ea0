/** Checks of the repository itself: its workflows, secrets in its history, known vulnerabilities of its packages. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { buildGoTool } from "../gotools.ts";
import type { GoModuleName } from "../goModules.ts";
import { repository } from "../stack.ts";
import { findCommand, run, say, UserError } from "../system.ts";

/** Runs a program on the person's terminal; gives its exit status. */
export function runVisibly(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: repository, env, stdio: "inherit" });
    child.on("error", reject);
    child.on("close", (code) => {
      resolve(code ?? 1);
    });
  });
}

/** A program that is on PATH, else built from its Go module. */
export async function tool(name: GoModuleName, program: string = name): Promise<string> {
  return (await findCommand(program)) ?? join(await buildGoTool(name), program);
}

/** `make check`: the workflows. Without shellcheck, which is not everywhere, so that it says the same everywhere. */
export async function checkWorkflows(): Promise<number> {
  const code = await runVisibly(await tool("actionlint"), ["-shellcheck=", "-pyflakes="]);
  say(`workflows: ${code === 0 ? "ok" : "not as GitHub wants them"}`);
  return code;
}

/** `make scan-secrets`: every commit, and with `STAGED=1` (the pre-commit hook) only what is about to be committed. */
export async function scanSecrets(): Promise<number> {
  const staged = process.env["STAGED"] === "1" ? ["--pre-commit", "--staged"] : [];
  const args = ["git", "--no-banner", "--redact", "--config", ".gitleaks.toml", ...staged, "."];
  return runVisibly(await tool("gitleaks"), args);
}

/** `make audit`: secrets, then the packages of the stack and of the app; `high` and worse fail. */
export async function audit(): Promise<number> {
  const secrets = await scanSecrets();
  const packages = [await auditPackages("."), await auditPackages("app")];
  return Math.max(secrets, ...packages);
}

async function auditPackages(directory: string): Promise<number> {
  const shown = directory === "." ? "the stack's packages" : `${directory}'s packages`;
  try {
    await run("npm", ["audit", "--audit-level=high"], { cwd: join(repository, directory) });
    say(`${shown}: no known vulnerability of high severity`);
    return 0;
  } catch (error) {
    if (!String(error).includes("audit endpoint returned an error")) {
      say(`${shown}: ${String(error)}`);
      return 1;
    }
    const unknown = `${shown}: the registry does not answer questions about vulnerabilities`;
    if (process.env["CI"] !== undefined) throw new UserError(unknown);
    say(`${unknown}; not checked here, the workflow does`);
    return 0;
  }
}
