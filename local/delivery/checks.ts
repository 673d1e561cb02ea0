/** Checks of the repository itself: its workflows, secrets in its history, known vulnerabilities of its packages. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { scoreManifests } from "../manifests/check.ts";
import { repository } from "../stack.ts";
import { message, run, say } from "../system.ts";
import { tool } from "../tool.ts";
import { refusedLicences } from "./licences.ts";

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

/** `make check`: what GitHub would say of the workflows, and kube-score of what the stacks make. */
export async function check(): Promise<number> {
  const workflows = await checkWorkflows();
  return Math.max(workflows, await scoreManifests());
}

/** Without shellcheck, which is not everywhere, so that it says the same everywhere. */
async function checkWorkflows(): Promise<number> {
  const code = await runVisibly(await tool("actionlint"), ["-shellcheck=", "-pyflakes="]);
  say(`workflows: ${code === 0 ? "ok" : "not as GitHub wants them"}`);
  return code;
}

/** `make scan-secrets`: every commit, and with `STAGED=1` (the pre-commit hook) only what is about to be committed. */
export async function scanSecrets(): Promise<number> {
  const staged = process.env["STAGED"] === "1" ? ["--pre-commit", "--staged"] : [];
  const args = ["git", "--no-banner", "--redact", "--verbose", "--config", ".gitleaks.toml", ...staged, "."];
  return runVisibly(await tool("gitleaks"), args);
}

/** One thing that an audit asks. */
export interface AuditResult {
  readonly what: string;
  /** `not asked`: nobody answered, so nothing is known. */
  readonly state: "clean" | "found" | "not asked";
  readonly detail: string;
}

/** Exit status of an audit without findings in which something could not be asked. */
export const notAsked = 3;

/** `make audit`: 0 only when everything was asked and nothing found; 1 findings; 3 something could not be asked. */
export async function audit(): Promise<number> {
  const results = await auditFindings();
  for (const { what, state, detail } of results) say(`${what}: ${state.toUpperCase()}. ${detail}`);
  const states = results.map(({ state }) => state);
  if (states.includes("found")) return 1;
  if (!states.includes("not asked")) return 0;
  say("audit: nothing was found in what was asked, but not everything was: this is no pass.");
  return notAsked;
}

/** Secrets in any commit, known vulnerabilities of high severity, licences. */
export async function auditFindings(): Promise<AuditResult[]> {
  const secrets = await scanSecrets();
  const refused = await refusedLicences();
  return [
    {
      what: "secrets",
      state: secrets === 0 ? "clean" : "found",
      detail: secrets === 0 ? "No commit has one." : "gitleaks shows them above.",
    },
    {
      what: "licences",
      state: refused.length === 0 ? "clean" : "found",
      detail:
        refused.length === 0
          ? "Every package's is on the list in local/delivery/licences.ts."
          : `Not on the list in local/delivery/licences.ts: ${refused.join(", ")}`,
    },
    await auditPackages("."),
    await auditPackages("app"),
  ];
}

async function auditPackages(directory: string): Promise<AuditResult> {
  const what = directory === "." ? "the stack's packages" : `the ${directory}'s packages`;
  try {
    await run("npm", ["audit", "--audit-level=high"], { cwd: join(repository, directory), env: process.env });
    return { what, state: "clean", detail: "No known vulnerability of high severity." };
  } catch (error) {
    const text = message(error);
    return /audit endpoint returned an error|ENOTFOUND|ECONNREFUSED|ETIMEDOUT|EAI_AGAIN/.test(text)
      ? {
          what,
          state: "not asked",
          detail: `The registry does not answer what is known about vulnerabilities (${/\b40\d \w+( \w+)*/.exec(text)?.[0] ?? "no answer"}).`,
        }
      : { what, state: "found", detail: text };
  }
}
