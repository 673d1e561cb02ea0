import { PrivateDnsZoneGroup } from "@pulumi/azure-native/network/privateDnsZoneGroup.js";
import { PrivateEndpoint } from "@pulumi/azure-native/network/privateEndpoint.js";
import { Subnet } from "@pulumi/azure-native/network/subnet.js";
import { VirtualNetwork } from "@pulumi/azure-native/network/virtualNetwork.js";
import { PrivateZone } from "@pulumi/azure-native/privatedns/privateZone.js";
import { VirtualNetworkLink } from "@pulumi/azure-native/privatedns/virtualNetworkLink.js";
import * as pulumi from "@pulumi/pulumi";

import type { AzureScope } from "./scope.ts";

/** Where each kind of service answers privately: its DNS zone, and its name in a private endpoint. */
const privateServices = {
  vault: { zone: "privatelink.vaultcore.azure.net", groupId: "vault" },
  blob: { zone: "privatelink.blob.core.windows.net", groupId: "blob" },
  registry: { zone: "privatelink.azurecr.io", groupId: "registry" },
  postgres: { zone: "privatelink.postgres.database.azure.com", groupId: "postgresqlServer" },
  redis: { zone: "privatelink.redis.azure.net", groupId: "redisEnterprise" },
} as const;

export type PrivateService = keyof typeof privateServices;

/** A private DNS zone, and what makes a network ask it. */
interface LinkedZone {
  readonly zone: PrivateZone;
  readonly link: VirtualNetworkLink;
}

export interface AzureNetworkArgs extends AzureScope {
  /** Networks to create, or the subnet for private endpoints of the network that the cluster already has. */
  readonly place:
    | { readonly vnet: string; readonly nodes: string; readonly endpoints: string }
    | { readonly endpointSubnetId: string };
}

/** The virtual network: created with a subnet for the nodes and one for private endpoints, or the cluster's own. */
export class AzureNetwork extends pulumi.ComponentResource {
  /** Subnet of the nodes; only where the network was created. */
  readonly nodesSubnetId?: pulumi.Output<string>;
  /** The created network. */
  readonly vnetId?: pulumi.Output<string>;
  readonly #args: AzureNetworkArgs;
  readonly #zones = new Map<PrivateService, LinkedZone>();
  readonly #endpoints: { readonly subnetId: pulumi.Input<string>; readonly vnetId: pulumi.Input<string> };

  constructor(name: string, args: AzureNetworkArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:azure:AzureNetwork", name, {}, opts);
    this.#args = args;
    const { resourceGroupName, location, place } = args;
    if ("endpointSubnetId" in place) {
      this.#endpoints = { subnetId: place.endpointSubnetId, vnetId: vnetOf(place.endpointSubnetId) };
    } else {
      const vnet = new VirtualNetwork(
        "vnet",
        { resourceGroupName, location, addressSpace: { addressPrefixes: [place.vnet] } },
        // The subnets are resources of their own; as part of the network, too, each would undo the other.
        { parent: this, ignoreChanges: ["subnets"] },
      );
      const subnet = (subnetName: string, addressPrefix: string, after: pulumi.Resource[]) =>
        new Subnet(
          subnetName,
          {
            resourceGroupName,
            virtualNetworkName: vnet.name,
            subnetName,
            addressPrefix,
            // Endpoints obey network policies only where the subnet says so.
            privateEndpointNetworkPolicies: "Enabled",
          },
          { parent: this, dependsOn: after },
        );
      // Azure refuses two writes to one network at once.
      const nodes = subnet("nodes", place.nodes, []);
      const endpoints = subnet("endpoints", place.endpoints, [nodes]);
      this.vnetId = vnet.id;
      this.nodesSubnetId = nodes.id;
      this.#endpoints = { subnetId: endpoints.id, vnetId: vnet.id };
    }
    this.registerOutputs({ vnetId: this.vnetId });
  }

  /**
   * Lets the network's pods and nodes reach a resource by a private address. `name` tells several resources of one service
   * apart; `dependsOn` is what must be done with the resource before. Gives the entry of its names in the network's DNS: once it
   * is there, they lead to the private address.
   */
  privateEndpoint(
    service: PrivateService,
    resourceId: pulumi.Input<string>,
    name: string = service,
    dependsOn: pulumi.Resource[] = [],
  ): PrivateDnsZoneGroup {
    const { resourceGroupName, location } = this.#args;
    const { groupId } = privateServices[service];
    const { subnetId, vnetId } = this.#endpoints;
    const child = { parent: this };
    const { zone, link } = this.#zone(service, vnetId);
    const endpoint = new PrivateEndpoint(
      `${name}-endpoint`,
      {
        resourceGroupName,
        location,
        subnet: { id: subnetId },
        privateLinkServiceConnections: [{ name, privateLinkServiceId: resourceId, groupIds: [groupId] }],
      },
      { ...child, dependsOn },
    );
    return new PrivateDnsZoneGroup(
      `${name}-endpoint-names`,
      {
        resourceGroupName,
        privateEndpointName: endpoint.name,
        privateDnsZoneGroupName: "default",
        privateDnsZoneConfigs: [{ name: service, privateDnsZoneId: zone.id }],
      },
      { ...child, dependsOn: [link] },
    );
  }

  /** The zone of a service, made at the first call. */
  #zone(service: PrivateService, vnetId: pulumi.Input<string>): LinkedZone {
    const known = this.#zones.get(service);
    if (known) return known;
    const { resourceGroupName } = this.#args;
    const { zone: privateZoneName } = privateServices[service];
    const child = { parent: this };
    const zone = new PrivateZone(
      `${service}-zone`,
      { resourceGroupName, privateZoneName, location: "global" },
      child,
    );
    const link = new VirtualNetworkLink(
      `${service}-zone-link`,
      {
        resourceGroupName,
        privateZoneName: zone.name,
        location: "global",
        registrationEnabled: false,
        virtualNetwork: { id: vnetId },
      },
      child,
    );
    const linked = { zone, link };
    this.#zones.set(service, linked);
    return linked;
  }
}

/** The network that a subnet's id names. */
export function vnetOf(subnetId: string): string {
  return subnetId.replace(/\/subnets\/[^/]+$/i, "");
}
