import { noDiff, type DiffKind, type DiffResult, type ResourceRequest } from "../common/provider.ts";
import { at, reveal, type Json, type JsonObject } from "../common/wire.ts";
import { autoNamed } from "./azure.ts";
import { shapeOf } from "./sdk.ts";

/**
 * What the real provider replaces and its SDK does not say: its own list, as far as the stack has the resources
 * (`forceNewMap` in https://github.com/pulumi/pulumi-azure-native/blob/master/provider/pkg/gen/replacement.go, and for
 * what is inside networkProfile https://github.com/pulumi/pulumi-azure-native/pull/4771). What is not in it, such as the
 * role of a RoleAssignment, that provider changes in place.
 */
const forced: Readonly<Record<string, readonly string[]>> = {
  "azure-native:authorization:RoleAssignment": ["principalId"],
  "azure-native:containerservice:AgentPool": ["gpuInstanceProfile", "vmSize"],
  "azure-native:containerservice:ManagedCluster": [
    ..."diskEncryptionSetID linuxProfile nodeResourceGroup windowsProfile".split(" "),
    ...(
      "dnsServiceIP ipFamilies networkDataplane networkMode networkPlugin networkPluginMode networkPolicy " +
      "outboundType podCidr podCidrs serviceCidr serviceCidrs"
    )
      .split(" ")
      .map((field) => `networkProfile.${field}`),
  ],
  "azure-native:network:PrivateEndpoint": ["subnet"],
  "azure-native:network:PublicIPAddress": ["publicIPAddressVersion", "publicIPPrefix", "sku"],
  "azure-native:storage:StorageAccount": ["isHnsEnabled"],
};

const differ = (before: Json | undefined, after: Json | undefined): boolean =>
  JSON.stringify(reveal(before ?? null)) !== JSON.stringify(reveal(after ?? null));

export const changedKeys = (olds: JsonObject, news: JsonObject): string[] =>
  [...new Set([...Object.keys(olds), ...Object.keys(news)])].filter((key) => differ(olds[key], news[key]));

/** What a change of its inputs would do to a resource; only Azure's are ever replaced. */
export function resourceDiff({
  type,
  oldInputs,
  news,
  ignoreChanges,
}: Pick<ResourceRequest, "type" | "oldInputs" | "news" | "ignoreChanges">): DiffResult {
  const keys = changedKeys(oldInputs, news).filter((key) => !ignoreChanges.includes(key));
  if (keys.length === 0) return noDiff;
  const fixed = type.startsWith("azure-native:")
    ? new Set([...(shapeOf(type)?.replaces ?? []), ...(forced[type] ?? [])])
    : [];
  const replaces = [...fixed].filter((name) => {
    const path = name.split(".");
    return keys.includes(path[0] ?? "") && differ(at(oldInputs, ...path), at(news, ...path));
  });
  const detailed = new Map<string, DiffKind>(keys.map((key) => [key, "UPDATE"]));
  for (const name of replaces) detailed.set(name, "UPDATE_REPLACE");
  // Two of one name cannot be: only where the name was made up here can the new one come first.
  const deleteBeforeReplace = replaces.length > 0 && !(autoNamed in oldInputs);
  return { changes: true, replaces, deleteBeforeReplace, detailed };
}
