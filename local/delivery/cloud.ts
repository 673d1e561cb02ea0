/** `make cloud-login`: signs a workflow in to Azure by its own identity token; no secret is stored anywhere. */
import { appendFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { run, say, UserError } from "../system.ts";
import { tool } from "../tool.ts";
import { withWorkloadIdentity } from "./workloadIdentity.ts";

function required(env: NodeJS.ProcessEnv, name: string, meaning: string): string {
  const value = env[name];
  if (!value) throw new UserError(`${name} is not set: ${meaning}`);
  return value;
}

/** CLUSTER (resource group/name) also writes its kubeconfig, AAD_LOGIN_METHOD also brings kubelogin, REGISTRY also signs Docker in. */
export async function cloudLogin(): Promise<void> {
  await forThisJobOnly();
  await withWorkloadIdentity(async (env) => {
    const client = required(env, "AZURE_CLIENT_ID", "the identity that trusts the job's environment");
    const tenant = required(env, "AZURE_TENANT_ID", "the directory of that identity");
    const hint = "GitHub lets jobs with `permissions: id-token: write` have a token";
    const file = required(env, "AZURE_FEDERATED_TOKEN_FILE", hint);
    const identity = ["--service-principal", "--username", client, "--tenant", tenant];
    // az reads the file: arguments can be read in the process list.
    await run("az", ["login", ...identity, "--federated-token", `@${file}`, "--output", "none"]);
  });
  say("azure: signed in");
  if (process.env["AAD_LOGIN_METHOD"]) await bringKubelogin();
  const cluster = process.env["CLUSTER"] ?? "";
  if (cluster !== "") await useCluster(cluster);
  const [registry = ""] = (process.env["REGISTRY"] ?? "").split(".");
  if (registry !== "") await run("az", ["acr", "login", "--name", registry]);
}

/** A runner empties this directory before and after each job; the home directory of one's own runner is there for the next, too. */
async function forThisJobOnly(): Promise<void> {
  const directory = process.env["RUNNER_TEMP"];
  if (!directory) return;
  for (const [variable, name] of Object.entries({ AZURE_CONFIG_DIR: "azure", KUBECONFIG: "kubeconfig" })) {
    process.env[variable] = join(directory, name);
    await tellLaterSteps("GITHUB_ENV", `${variable}=${join(directory, name)}`);
  }
}

/** For the steps that follow: kubectl and Pulumi call it by its name. GitHub's runners come without it. */
async function bringKubelogin(): Promise<void> {
  const program = await tool("kubelogin");
  await tellLaterSteps("GITHUB_PATH", dirname(program));
  say(`azure: ${program} signs in to clusters`);
}

/** In a workflow a variable names the file that is read before each step that follows. */
async function tellLaterSteps(variable: string, line: string): Promise<void> {
  const file = process.env[variable];
  if (file) await appendFile(file, `${line}\n`);
}

async function useCluster(cluster: string): Promise<void> {
  const [group = "", name = "", ...rest] = cluster.split("/");
  if (group === "" || name === "" || rest.length > 0)
    throw new UserError(`CLUSTER is "${cluster}" and may be <resource group>/<name> of an AKS cluster`);
  required(process.env, "AAD_LOGIN_METHOD", "kubelogin's way to sign in, in a workflow workloadidentity");
  await run("az", [
    "aks",
    "get-credentials",
    "--resource-group",
    group,
    "--name",
    name,
    "--overwrite-existing",
  ]);
  // What the steps that follow work on where the stack makes its cluster, whose context no file of it can name.
  await tellLaterSteps("GITHUB_ENV", `CONTEXT=${name}`);
  say(`azure: kubectl works on ${name}`);
}
