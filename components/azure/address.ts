import { RecordSet } from "@pulumi/azure-native/dns/recordSet.js";
import { PublicIPAddress } from "@pulumi/azure-native/network/publicIPAddress.js";
import * as pulumi from "@pulumi/pulumi";

import type { AzureScope } from "./scope.ts";

export interface PublicAddressArgs extends AzureScope {
  /** Host names that lead to the address. */
  readonly hosts: readonly string[];
  /** Existing DNS zone that the hosts are under; without it their records are made by hand. */
  readonly dnsZone?: { readonly name: string; readonly resourceGroup: string };
}

/** The static address of the edge, which outlives its load balancer, and the DNS records that lead to it. */
export class PublicAddress extends pulumi.ComponentResource {
  readonly id: pulumi.Output<string>;
  /** Annotations with which a Service of type LoadBalancer takes this address. */
  readonly serviceAnnotations: Readonly<Record<string, pulumi.Input<string>>>;

  constructor(name: string, args: PublicAddressArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:azure:PublicAddress", name, {}, opts);
    const { resourceGroupName, location, dnsZone } = args;
    const address = new PublicIPAddress(
      name,
      {
        resourceGroupName,
        location,
        sku: { name: "Standard", tier: "Regional" },
        publicIPAllocationMethod: "Static",
        publicIPAddressVersion: "IPv4",
        zones: ["1", "2", "3"],
      },
      { parent: this, protect: true },
    );
    if (dnsZone) {
      for (const host of args.hosts) {
        new RecordSet(
          `record-${host}`,
          {
            resourceGroupName: dnsZone.resourceGroup,
            zoneName: dnsZone.name,
            recordType: "A",
            relativeRecordSetName: relativeName(host, dnsZone.name),
            ttl: 300,
            // An alias: the record follows the address and goes with it.
            targetResource: { id: address.id },
          },
          { parent: this },
        );
      }
    }
    this.id = address.id;
    this.serviceAnnotations = {
      "service.beta.kubernetes.io/azure-load-balancer-resource-group": resourceGroupName,
      "service.beta.kubernetes.io/azure-pip-name": address.name,
    };
    this.registerOutputs({ id: this.id });
  }
}

/** Name of a host inside its zone; `@` for the zone itself. */
export function relativeName(host: string, zone: string): string {
  return host === zone ? "@" : host.slice(0, -zone.length - 1);
}
