/** `make bootstrap-azure`: the commands that make what Pulumi needs in Azure before the first `up`, printed and not run. */
import { parse } from "yaml";
import { readIfPresent, UserError } from "./system.ts";
import { join } from "node:path";
import { repository } from "./stack.ts";

export interface Bootstrap {
  readonly stack: string;
  readonly subscriptionId: string;
  readonly tenantId: string;
  /** Region, such as `japaneast`. */
  readonly location: string;
  /** First part of names that must be unique in the world; letters and digits. */
  readonly prefix: string;
  /** GitHub repository, `owner/name`. */
  readonly github: string;
}

/** Reads the stack's Azure settings; an error that says which key is missing. */
export async function bootstrapOf(stack: string, github: string): Promise<Bootstrap> {
  const file = `Pulumi.${stack}.yaml`;
  const { config } = parse((await readIfPresent(join(repository, file))) ?? "{}") as {
    config?: Record<string, Record<string, string> | undefined>;
  };
  const azure = config?.["groundwork:azure"] ?? {};
  const wanted = ["subscriptionId", "tenantId", "location"] as const;
  const missing = wanted.filter((key) => azure[key] === undefined);
  if (missing.length > 0)
    throw new UserError(`${file} has no ${missing.map((key) => `groundwork:azure.${key}`).join(", ")}.`);
  if (!/^[\w.-]+\/[\w.-]+$/.test(github)) {
    throw new UserError(
      `REPO is "${github}" and must be the GitHub repository: make bootstrap-azure REPO=owner/name`,
    );
  }
  const { subscriptionId = "", tenantId = "", location = "", prefix = "groundwork" } = azure;
  return { stack, subscriptionId, tenantId, location, prefix, github };
}

/** Azure's limits: a vault has 3 to 24 characters, a storage account 3 to 24 letters and digits. */
const longestName = 24;

/** Environments of GitHub that jobs of `.github/workflows` run in. */
const environments = ["development", "production", "production-read"];

/** A script for bash that explains itself. Running it twice does no harm. */
export function bootstrapScript(settings: Bootstrap): string {
  const { stack, subscriptionId, tenantId, location, prefix, github } = settings;
  const group = `${prefix}-state`;
  const account = `${prefix}state`.slice(0, longestName - 4);
  const vault = `${prefix}-state`.slice(0, longestName - 5);
  const subjects = [
    {
      name: "main",
      subject: `repo:${github}:ref:refs/heads/main`,
      why: "jobs of main that run in no environment",
    },
    { name: "pull-request", subject: `repo:${github}:pull_request`, why: "previews" },
    ...environments.map((name) => ({
      name,
      subject: `repo:${github}:environment:${name}`,
      why: `jobs of the environment ${name}`,
    })),
  ];
  return `#!/usr/bin/env bash
# What Pulumi needs before the first \`up\` of ${stack}: a place for its state, a key for the secrets in it, and an identity
# that GitHub's workflows sign in as without any password. Read it, then run it: make -s bootstrap-azure REPO=${github} | bash
set -euo pipefail

az account set --subscription ${subscriptionId}
me=$(az ad signed-in-user show --query id --output tsv)
# Names of vaults and storage accounts are unique in the world: the same subscription always gets the same ones.
suffix=$(printf '%s' ${subscriptionId} | sha256sum | cut -c1-4)
account=${account}$suffix
vault=${vault}-$suffix

# 1. The state: a storage account that knows no shared keys and keeps what is overwritten or deleted for 30 days.
az group create --name ${group} --location ${location} --output none
az storage account create --resource-group ${group} --name "$account" --location ${location} --sku Standard_ZRS \\
  --allow-shared-key-access false --allow-blob-public-access false --min-tls-version TLS1_2 --https-only true --output none
az storage account blob-service-properties update --resource-group ${group} --account-name "$account" \\
  --enable-versioning true --enable-delete-retention true --delete-retention-days 30 --output none
az storage container-rm create --resource-group ${group} --storage-account "$account" --name state --output none
storage=$(az storage account show --resource-group ${group} --name "$account" --query id --output tsv)

# 2. The key that the state's secrets are encrypted with. It can be deleted, but not for good: without it the state is lost.
az keyvault show --name "$vault" --output none 2>/dev/null ||
  az keyvault create --resource-group ${group} --name "$vault" --location ${location} \\
    --enable-rbac-authorization true --enable-purge-protection true --retention-days 90 --output none
keys=$(az keyvault show --name "$vault" --query id --output tsv)
az role assignment create --assignee "$me" --role "Key Vault Crypto Officer" --scope "$keys" --output none
az role assignment create --assignee "$me" --role "Storage Blob Data Contributor" --scope "$storage" --output none
# Azure takes a minute or two to know of a role.
until az keyvault key show --vault-name "$vault" --name pulumi --output none 2>/dev/null ||
  az keyvault key create --vault-name "$vault" --name pulumi --kty RSA --size 3072 --output none 2>/dev/null; do
  echo "waiting for the role on $vault" >&2
  sleep 10
done

# 3. The identity of the workflows: GitHub vouches for who runs, so that no secret has to be stored or renewed.
az identity create --resource-group ${group} --name ${prefix}-${stack}-github --location ${location} --output none
client=$(az identity show --resource-group ${group} --name ${prefix}-${stack}-github --query clientId --output tsv)
principal=$(az identity show --resource-group ${group} --name ${prefix}-${stack}-github --query principalId --output tsv)
${subjects
  .map(
    ({ name, subject, why }) => `# ${why}
az identity federated-credential create --resource-group ${group} --identity-name ${prefix}-${stack}-github --name ${name} \\
  --issuer https://token.actions.githubusercontent.com --subject '${subject}' \\
  --audiences api://AzureADTokenExchange --output none`,
  )
  .join("\n")}
for role in Contributor "Role Based Access Control Administrator"; do
  az role assignment create --assignee-object-id "$principal" --assignee-principal-type ServicePrincipal \\
    --role "$role" --scope /subscriptions/${subscriptionId} --output none
done
az role assignment create --assignee-object-id "$principal" --assignee-principal-type ServicePrincipal \\
  --role "Key Vault Crypto User" --scope "$keys" --output none
az role assignment create --assignee-object-id "$principal" --assignee-principal-type ServicePrincipal \\
  --role "Storage Blob Data Contributor" --scope "$storage" --output none

cat <<END
Done. On GitHub, under Settings, Secrets and variables, Actions, Variables (none of these is secret):
  AZURE_CLIENT_ID        $client
  AZURE_TENANT_ID        ${tenantId}
  AZURE_SUBSCRIPTION_ID  ${subscriptionId}
  PULUMI_BACKEND_URL     azblob://state?storage_account=$account

Here:
  export AZURE_STORAGE_ACCOUNT=$account AZURE_KEYVAULT_AUTH_VIA_CLI=true
  pulumi login 'azblob://state?storage_account='$account
  pulumi stack init ${stack} --secrets-provider azurekeyvault://$vault.vault.azure.net/keys/pulumi
END
`;
}
