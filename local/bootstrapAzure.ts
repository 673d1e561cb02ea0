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

/** What an `up` makes resources of. A new subscription knows few of these, and not every one is registered at its first use. */
export const resourceProviders = [
  "Microsoft.Cache",
  "Microsoft.Compute",
  "Microsoft.ContainerRegistry",
  "Microsoft.ContainerService",
  "Microsoft.DBforPostgreSQL",
  "Microsoft.Insights",
  "Microsoft.KeyVault",
  "Microsoft.ManagedIdentity",
  "Microsoft.Network",
  "Microsoft.OperationalInsights",
  "Microsoft.Storage",
] as const;

/** Azure's limits: a vault has 3 to 24 characters, a storage account 3 to 24 letters and digits. */
const longestName = 24;

/** A script for bash that explains itself. Running it twice does no harm. */
export function bootstrapScript(settings: Bootstrap): string {
  const { stack, subscriptionId, tenantId, location, prefix, github } = settings;
  const group = `${prefix}-state`;
  const account = `${prefix}state`.slice(0, longestName - 4);
  const vault = `${prefix}-state`.slice(0, longestName - 5);
  return `#!/usr/bin/env bash
# What Pulumi needs before the first \`up\` of ${stack}: places for its state, keys for the secrets in it, and identities
# that GitHub's workflows sign in as without any password. It needs az and gh, both signed in. Read it, then run it:
#   make -s bootstrap-azure REPO=${github} | bash
set -Eeuo pipefail
trap 'echo "Stopped here. If Azure does not know a role or an identity yet, run this again in some minutes." >&2' ERR

az account set --subscription ${subscriptionId}
me=$(az ad signed-in-user show --query id --output tsv)
subscription=/subscriptions/${subscriptionId}
# With the ids that GitHub never gives again: a name can go to somebody else.
repository=$(gh api repos/${github} --jq '"repo:\\(.owner.login)@\\(.owner.id)/\\(.name)@\\(.id)"')
# Names of vaults and storage accounts are unique in the world: the same subscription always gets the same ones.
suffix=$(printf '%s' ${subscriptionId} | sha256sum | cut -c1-4)
account=${account}$suffix
vault=${vault}-$suffix

# 0. The kinds of resources that this and the first \`up\` make: a new subscription does not know them all.
for provider in ${resourceProviders.join(" ")}; do
  az provider register --namespace "$provider" --wait --output none
done

# 1. The state: a storage account that knows no shared keys and keeps what is overwritten or deleted for 30 days.
#    Development has a container of its own, as whoever writes a state decides what the next \`up\` does.
az group create --name ${group} --location ${location} --output none
az storage account create --resource-group ${group} --name "$account" --location ${location} --sku Standard_ZRS \\
  --allow-shared-key-access false --allow-blob-public-access false --min-tls-version TLS1_2 --https-only true --output none
az storage account blob-service-properties update --resource-group ${group} --account-name "$account" \\
  --enable-versioning true --enable-delete-retention true --delete-retention-days 30 --output none
for container in state state-development; do
  az storage container-rm create --resource-group ${group} --storage-account "$account" --name "$container" --output none
done
storage=$(az storage account show --resource-group ${group} --name "$account" --query id --output tsv)
containers=$storage/blobServices/default/containers

# 2. The keys that the states' secrets are encrypted with. They can be deleted, but not for good: without them a state is lost.
az keyvault show --name "$vault" --output none 2>/dev/null ||
  az keyvault create --resource-group ${group} --name "$vault" --location ${location} \\
    --enable-rbac-authorization true --enable-purge-protection true --retention-days 90 --output none
keys=$(az keyvault show --name "$vault" --query id --output tsv)
az role assignment create --assignee "$me" --role "Key Vault Crypto Officer" --scope "$keys" --output none
az role assignment create --assignee "$me" --role "Storage Blob Data Contributor" --scope "$storage" --output none
# Azure takes a minute or two to know of a role.
for key in pulumi pulumi-development; do
  until az keyvault key show --vault-name "$vault" --name "$key" --output none 2>/dev/null ||
    az keyvault key create --vault-name "$vault" --name "$key" --kty RSA --size 3072 --output none 2>/dev/null; do
    echo "waiting for the role on $vault" >&2
    sleep 10
  done
done

# 3. An identity for each of GitHub's environments, and for nothing else: GitHub vouches for the environment that a job runs
#    in, so that no secret has to be stored or renewed, and the environment's own rules say which branches and tags may be it.
identity() { # environment; sets client and principal
  az identity create --resource-group ${group} --name ${prefix}-"$1" --location ${location} --output none
  az identity federated-credential create --resource-group ${group} --identity-name ${prefix}-"$1" --name github \\
    --issuer https://token.actions.githubusercontent.com --subject "$repository:environment:$1" \\
    --audiences api://AzureADTokenExchange --output none
  client=$(az identity show --resource-group ${group} --name ${prefix}-"$1" --query clientId --output tsv)
  principal=$(az identity show --resource-group ${group} --name ${prefix}-"$1" --query principalId --output tsv)
}
grant() { # role, scope
  az role assignment create --assignee-object-id "$principal" --assignee-principal-type ServicePrincipal \\
    --role "$1" --scope "$2" --output none
}

# production: makes everything of the stack, and gives its workloads their roles. There are no accounts in the cluster itself.
# Secrets are written by the resource manager, but deleted from the vault, which the stack makes: hence the officer.
identity production
production=$client
grant "Contributor" "$subscription"
grant "Role Based Access Control Administrator" "$subscription"
grant "Azure Kubernetes Service RBAC Cluster Admin" "$subscription"
grant "Key Vault Secrets Officer" "$subscription"
grant "Key Vault Crypto User" "$keys/keys/pulumi"
grant "Storage Blob Data Contributor" "$containers/state"

# production-read: compares what runs with the program, which asks for the cluster's address and the managed Redis's keys. It
# reads secrets, so it is not for pull requests; it starts nothing, as whoever starts a pod beside the cluster's own can be its
# admin. Nor does it read nodes: whoever may reads through them to where commands are run in pods.
az role definition list --custom-role-only true --name "${prefix} production-read" --query "[].id" --output tsv | grep -q . ||
  az role definition create --output none --role-definition '{
    "Name": "${prefix} production-read",
    "Description": "A drift check, besides Reader.",
    "Actions": [
      "Microsoft.ContainerService/managedClusters/listClusterUserCredential/action",
      "Microsoft.Cache/redisEnterprise/databases/listKeys/action"
    ],
    "DataActions": ["Microsoft.ContainerService/managedClusters/*/read"],
    "NotDataActions": ["Microsoft.ContainerService/managedClusters/nodes/read"],
    "AssignableScopes": ["/subscriptions/${subscriptionId}"]
  }'
identity production-read
production_read=$client
grant "Reader" "$subscription"
grant "${prefix} production-read" "$subscription"
grant "Key Vault Crypto User" "$keys/keys/pulumi"
grant "Storage Blob Data Reader" "$containers/state"

# development: pushes images and brings up the dev stack; neither reaches production.
identity development
development=$client
grant "Key Vault Crypto User" "$keys/keys/pulumi-development"
grant "Storage Blob Data Contributor" "$containers/state-development"

cat <<END
Done.

On GitHub, under Settings, Environments. The rules are what keeps others from being the environment: set them first.
  production       deployment tags v* only, required reviewers
  production-read  deployment branch main only
  development      deployment branch main only
A repository from before 15 July 2026 says its ids only when told to: Settings, Actions, OIDC, immutable subject claims.

Under Settings, Secrets and variables, Actions, Variables (none of these is secret):
  AZURE_TENANT_ID        ${tenantId}
  AZURE_SUBSCRIPTION_ID  ${subscriptionId}

Variables of each environment:
  production       AZURE_CLIENT_ID     $production
                   PULUMI_BACKEND_URL  azblob://state?storage_account=$account
  production-read  AZURE_CLIENT_ID     $production_read
                   PULUMI_BACKEND_URL  azblob://state?storage_account=$account
  development      AZURE_CLIENT_ID     $development
                   PULUMI_BACKEND_URL  azblob://state-development?storage_account=$account

Where there are a registry and a cluster for development, with their ids:
  az role assignment create --assignee $development --role AcrPush --scope <registry>
  az role assignment create --assignee $development --role "Azure Kubernetes Service Cluster User Role" --scope <cluster>
  az role assignment create --assignee $development --role "Azure Kubernetes Service RBAC Cluster Admin" --scope <cluster>

Here:
  export AZURE_STORAGE_ACCOUNT=$account
  pulumi login 'azblob://state?storage_account='$account
  pulumi stack init ${stack} --secrets-provider azurekeyvault://$vault.vault.azure.net/keys/pulumi
END
`;
}
