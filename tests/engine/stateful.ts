/** What a stack must not lose: data, what data is encrypted with, and what others know it by. */
import type { StateResource, Step } from "./support.ts";

const stateful = new Set([
  "azure-native:containerregistry:Registry",
  "azure-native:containerservice:ManagedCluster",
  "azure-native:dbforpostgresql:Server",
  "azure-native:keyvault:Key",
  "azure-native:keyvault:Secret",
  "azure-native:keyvault:Vault",
  "azure-native:network:PublicIPAddress",
  "azure-native:redisenterprise:Database",
  "azure-native:redisenterprise:RedisEnterprise",
  "azure-native:resources:ResourceGroup",
  "azure-native:storage:BlobContainer",
  "azure-native:storage:EncryptionScope",
  "azure-native:storage:StorageAccount",
  "kubernetes:apps/v1:StatefulSet",
  "kubernetes:core/v1:Namespace",
  "kubernetes:core/v1:PersistentVolumeClaim",
  "kubernetes:core/v1:Secret",
  "random:index/randomPassword:RandomPassword",
  "random:index/randomString:RandomString",
]);

export const isStateful = ({ type }: Pick<Step | StateResource, "type">): boolean => stateful.has(type);

/** Steps by which something stateful would be lost: a deletion, or one resource for another. */
export function losses(steps: readonly Step[]): string[] {
  const lost = steps.filter((step) => isStateful(step) && /replace|delete|discard/.test(step.op));
  return lost.map(({ op, type, name }) => `${op} ${type} ${name}`);
}
