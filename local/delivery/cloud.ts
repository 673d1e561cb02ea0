/** `make cloud-login`: signs a workflow in to Azure by its own identity token; no secret is stored anywhere. */
import { z } from "zod";
import { run, say, UserError } from "../system.ts";

function required(name: string, meaning: string): string {
  const value = process.env[name];
  if (!value) throw new UserError(`${name} is not set: ${meaning}`);
  return value;
}

/** CLUSTER (resource group/name) also writes its kubeconfig, REGISTRY also signs Docker in. */
export async function cloudLogin(): Promise<void> {
  const client = required("AZURE_CLIENT_ID", "the identity that trusts this repository's workflows");
  const tenant = required("AZURE_TENANT_ID", "the directory of that identity");
  const hint = "GitHub sets it for jobs with `permissions: id-token: write`";
  const url = required("ACTIONS_ID_TOKEN_REQUEST_URL", hint);
  const bearer = required("ACTIONS_ID_TOKEN_REQUEST_TOKEN", hint);
  const answer = await fetch(`${url}&audience=api://AzureADTokenExchange`, {
    headers: { Authorization: `Bearer ${bearer}` },
    signal: AbortSignal.timeout(10_000),
  });
  const { value } = z.object({ value: z.string() }).parse(await answer.json());
  const identity = ["--service-principal", "--username", client, "--tenant", tenant];
  await run("az", ["login", ...identity, "--federated-token", value, "--output", "none"]);
  say("azure: signed in");
  const cluster = process.env["CLUSTER"] ?? "";
  if (cluster !== "") await useCluster(cluster);
  const [registry = ""] = (process.env["REGISTRY"] ?? "").split(".");
  if (registry !== "") await run("az", ["acr", "login", "--name", registry]);
}

async function useCluster(cluster: string): Promise<void> {
  const [group = "", name = "", ...rest] = cluster.split("/");
  if (group === "" || name === "" || rest.length > 0)
    throw new UserError(`CLUSTER is "${cluster}" and may be <resource group>/<name> of an AKS cluster`);
  await run("az", [
    "aks",
    "get-credentials",
    "--resource-group",
    group,
    "--name",
    name,
    "--overwrite-existing",
  ]);
  await run("kubelogin", ["convert-kubeconfig", "--login", "azurecli"]);
  say(`azure: kubectl works on ${name}`);
}
