import { createHash } from "node:crypto";
import type { CheckInput } from "../common/provider.ts";
import { isUnknown, reveal, textAt, type JsonObject } from "../common/wire.ts";
import { shapeOf } from "./sdk.ts";

const SUBSCRIPTION = "00000000-0000-0000-0000-000000000000";

/** Provider namespaces that are not simply "Microsoft." and the module with a capital. */
const NAMESPACES: Record<string, string> = {
  containerservice: "Microsoft.ContainerService",
  containerregistry: "Microsoft.ContainerRegistry",
  dbforpostgresql: "Microsoft.DBforPostgreSQL",
  keyvault: "Microsoft.KeyVault",
  managedidentity: "Microsoft.ManagedIdentity",
  operationalinsights: "Microsoft.OperationalInsights",
  redisenterprise: "Microsoft.Cache",
};

const parts = (type: string): { module: string; kind: string } => {
  const [, module = "", kind = ""] = type.split(":");
  return { module: module.split("/")[0] ?? "", kind };
};

const lowerFirst = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1);

/** The input that names a resource of this type. */
const nameKey = (type: string): string => shapeOf(type)?.name ?? "name";

/** Marks, as the real provider does, inputs whose name was made up here. */
export const autoNamed = "__createBeforeDelete";

/**
 * Names a resource that has no name: its logical name, with a random end unless it is a part of another resource
 * (`AutoName` in https://github.com/pulumi/pulumi-azure-native/blob/master/provider/pkg/resources/resources.go).
 */
export function withAzureName(inputs: JsonObject, input: CheckInput): JsonObject {
  const key = nameKey(input.type);
  if (inputs[key] !== undefined) return inputs;
  const before = input.olds[key];
  if (before !== undefined) {
    const mark = input.olds[autoNamed];
    return { ...inputs, [key]: before, ...(mark !== undefined && { [autoNamed]: mark }) };
  }
  if (shapeOf(input.type)?.isPart === true) return { ...inputs, [key]: input.name };
  const end = createHash("sha256").update(input.randomSeed).digest("hex").slice(0, 8);
  return { ...inputs, [key]: `${input.name}${end}`, [autoNamed]: true };
}

export function azureId(type: string, resourceName: string, inputs: JsonObject): string {
  const { module, kind } = parts(type);
  const plain = (key: string): string => {
    const value = reveal(inputs[key] ?? "");
    return typeof value === "string" && !isUnknown(value) ? value : "";
  };
  const group = plain("resourceGroupName") || "unknown";
  const root = `/subscriptions/${SUBSCRIPTION}/resourceGroups/${group}`;
  if (kind === "ResourceGroup") return root;
  const namespace = NAMESPACES[module] ?? `Microsoft.${module.charAt(0).toUpperCase()}${module.slice(1)}`;
  const name = plain(nameKey(type)) || resourceName;
  return `${root}/providers/${namespace}/${lowerFirst(kind)}s/${name}`;
}

/** What Azure adds to a resource, as far as stacks like ours read it. */
export function azureAdds(type: string, id: string): JsonObject {
  const name = id.split("/").at(-1) ?? "";
  switch (parts(type).kind) {
    case "ManagedCluster":
      return {
        oidcIssuerProfile: { enabled: true, issuerURL: `https://issuer.example.com/${name}/` },
        identityProfile: { kubeletidentity: { objectId: SUBSCRIPTION, clientId: SUBSCRIPTION } },
        identity: { type: "SystemAssigned", principalId: SUBSCRIPTION },
        nodeResourceGroup: `MC_${name}`,
      };
    case "UserAssignedIdentity":
      return { clientId: SUBSCRIPTION, principalId: SUBSCRIPTION };
    case "Server":
      return { fullyQualifiedDomainName: `${name}.postgres.database.azure.com` };
    case "RedisEnterprise":
      return { hostName: `${name}.redis.azure.net` };
    default:
      return {};
  }
}

/** Minimal answers to the functions that stacks like ours call. */
export function azureInvoke(token: string, args: JsonObject): JsonObject {
  const id = `/subscriptions/${SUBSCRIPTION}/resourceGroups/${textAt(args, "resourceGroupName") || "unknown"}`;
  switch (token.split(":").at(-1)) {
    case "getClientConfig":
      return {
        clientId: SUBSCRIPTION,
        objectId: SUBSCRIPTION,
        subscriptionId: SUBSCRIPTION,
        tenantId: SUBSCRIPTION,
      };
    case "listDatabaseKeys":
      return { primaryKey: "stand-in", secondaryKey: "stand-in" };
    case "listStorageAccountKeys":
      return {
        keys: [{ keyName: "key1", permissions: "FULL", value: Buffer.from("stand-in").toString("base64") }],
      };
    case "listManagedClusterUserCredentials":
    case "listManagedClusterAdminCredentials":
      return { kubeconfigs: [{ name: "stand-in", value: Buffer.from("{}").toString("base64") }] };
    default:
      return { ...args, id };
  }
}
