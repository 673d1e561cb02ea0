import { at, isAzure, textAt } from "./resource.ts";
import type { Rule } from "./rules.ts";

function unless(fine: boolean, text: string): readonly string[] {
  return fine ? [] : [text];
}

/** Azure resources that hold what cannot be made again. */
const stateful: readonly (readonly [module: string, kind: string])[] = [
  ["storage", "StorageAccount"],
  ["storage", "BlobContainer"],
  ["keyvault", "Vault"],
  ["dbforpostgresql", "Server"],
  ["containerservice", "ManagedCluster"],
];

export const azureRules: readonly Rule[] = [
  {
    name: "no-public-storage",
    description: "Storage cannot be read by the public, nor with a shared key.",
    check: (resource) => [
      ...(isAzure(resource, "storage", "StorageAccount")
        ? [
            ...unless(
              at(resource.props, "allowBlobPublicAccess") === false,
              "allowBlobPublicAccess must be false",
            ),
            ...unless(
              at(resource.props, "allowSharedKeyAccess") === false,
              "allowSharedKeyAccess must be false",
            ),
          ]
        : []),
      ...(isAzure(resource, "storage", "BlobContainer")
        ? unless(["", "None"].includes(textAt(resource.props, "publicAccess")), "publicAccess must be None")
        : []),
    ],
  },
  {
    name: "vault-protection",
    description: "A vault is purge-protected, ruled by roles, and closed but for what is listed.",
    check: (resource) =>
      isAzure(resource, "keyvault", "Vault")
        ? [
            ...unless(
              at(resource.props, "properties.enablePurgeProtection") === true,
              "enablePurgeProtection must be true",
            ),
            ...unless(
              at(resource.props, "properties.enableRbacAuthorization") === true,
              "enableRbacAuthorization must be true",
            ),
            ...unless(
              textAt(resource.props, "properties.networkAcls.defaultAction") === "Deny" ||
                textAt(resource.props, "properties.publicNetworkAccess") === "Disabled",
              "networkAcls.defaultAction must be Deny, or publicNetworkAccess Disabled",
            ),
          ]
        : [],
  },
  {
    name: "tls-minimum",
    description: "Storage is reached by https with TLS 1.2 or later.",
    check: (resource) =>
      isAzure(resource, "storage", "StorageAccount")
        ? [
            ...unless(
              ["TLS1_2", "TLS1_3"].includes(textAt(resource.props, "minimumTlsVersion")),
              "minimumTlsVersion must be TLS1_2 or TLS1_3",
            ),
            ...unless(
              at(resource.props, "enableHttpsTrafficOnly") !== false,
              "enableHttpsTrafficOnly must not be false",
            ),
          ]
        : [],
  },
  {
    name: "stateful-is-protected",
    description: "In production Pulumi refuses to delete what holds data.",
    check: (resource, { production }) =>
      unless(
        !production ||
          resource.protect ||
          !stateful.some(([module, kind]) => isAzure(resource, module, kind)),
        "must have the resource option protect: true",
      ),
  },
];
