import type * as pulumi from "@pulumi/pulumi";

/** Where the resources of the stack are made. */
export interface AzureScope {
  readonly resourceGroupName: pulumi.Input<string>;
  /** Region, such as `japaneast`. */
  readonly location: string;
  /** Subscription of the stack. */
  readonly subscriptionId: string;
}

/** Who may reach the stack's Azure resources from outside its network. */
export interface AzureAccess {
  /** `private`: nobody. `allowlist`: the listed networks. */
  readonly access: "private" | "allowlist";
  /** Public IPv4 networks in CIDR notation. */
  readonly allowlist: readonly string[];
}

/** Storage and registry take a single address only without its `/32`. */
export function withoutHostLength(cidr: string): string {
  return cidr.replace(/\/32$/, "");
}
