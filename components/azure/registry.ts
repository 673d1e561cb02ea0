import { Registry as ContainerRegistry } from "@pulumi/azure-native/containerregistry/registry.js";
import type { PrivateDnsZoneGroup } from "@pulumi/azure-native/network/privateDnsZoneGroup.js";
import * as pulumi from "@pulumi/pulumi";

import type { AzureNetwork } from "./network.ts";
import { withoutHostLength, type AzureAccess, type AzureScope } from "./scope.ts";

export interface RegistryArgs extends AzureScope, AzureAccess {
  /** Globally unique, 5 to 50 letters and digits. */
  readonly registryName: pulumi.Input<string>;
  /** Days after which manifests without a tag are deleted. */
  readonly untaggedDays: number;
  readonly network: AzureNetwork;
}

/** The image registry: premium, which private endpoints and retention need; no admin user, no anonymous pull. */
export class Registry extends pulumi.ComponentResource {
  readonly id: pulumi.Output<string>;
  readonly loginServer: pulumi.Output<string>;
  /** With it the network's nodes reach the registry; absent where no subnet is known. */
  readonly privateNames: PrivateDnsZoneGroup;

  constructor(name: string, args: RegistryArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:azure:Registry", name, {}, opts);
    const { resourceGroupName, location, access, allowlist } = args;
    const registry = new ContainerRegistry(
      name,
      {
        registryName: args.registryName,
        resourceGroupName,
        location,
        sku: { name: "Premium" },
        adminUserEnabled: false,
        anonymousPullEnabled: false,
        dataEndpointEnabled: true,
        zoneRedundancy: "Enabled",
        publicNetworkAccess: access === "private" ? "Disabled" : "Enabled",
        // The registry itself fetches what `az acr import` names, and is then one of Azure's services to its own rules.
        networkRuleBypassOptions: "AzureServices",
        networkRuleSet: {
          defaultAction: "Deny",
          ipRules:
            access === "private"
              ? []
              : allowlist.map((cidr) => ({ action: "Allow", iPAddressOrRange: withoutHostLength(cidr) })),
        },
        policies: { retentionPolicy: { status: "enabled", days: args.untaggedDays } },
      },
      { parent: this, protect: true },
    );
    this.privateNames = args.network.privateEndpoint("registry", registry.id);
    this.id = registry.id;
    this.loginServer = registry.loginServer;
    this.registerOutputs({ loginServer: this.loginServer });
  }
}
