import type { RoleAssignment } from "@pulumi/azure-native/authorization/roleAssignment.js";
import { FederatedIdentityCredential } from "@pulumi/azure-native/managedidentity/federatedIdentityCredential.js";
import { UserAssignedIdentity } from "@pulumi/azure-native/managedidentity/userAssignedIdentity.js";
import * as pulumi from "@pulumi/pulumi";

import { grant, type RoleName } from "./roles.ts";
import type { AzureScope } from "./scope.ts";

export interface WorkloadIdentitiesArgs extends AzureScope {
  /** OIDC issuer of the cluster, which vouches for its service accounts. */
  readonly oidcIssuerUrl: pulumi.Input<string>;
}

interface Made {
  readonly identity: UserAssignedIdentity;
  readonly credential: FederatedIdentityCredential;
}

/** One managed identity per workload, which only the pods under the service account of the same name can use. */
export class WorkloadIdentities extends pulumi.ComponentResource {
  readonly #args: WorkloadIdentitiesArgs;
  readonly #made = new Map<string, Made>();

  constructor(name: string, args: WorkloadIdentitiesArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:azure:WorkloadIdentities", name, {}, opts);
    this.#args = args;
    this.registerOutputs();
  }

  /** Client id of the workload's identity, made at the first call. */
  clientId(workload: string, namespace: pulumi.Input<string>): pulumi.Output<string> {
    return this.#identity(workload, namespace).identity.clientId;
  }

  /** What lets the service account of a workload that has an identity use it. */
  credential(workload: string): FederatedIdentityCredential {
    return this.#known(workload).credential;
  }

  /** Grants a workload that has an identity a role on one resource; `on` names the resource in the program. */
  grant(
    workload: string,
    role: RoleName,
    on: string,
    scope: pulumi.Input<string>,
    dependsOn: pulumi.Resource[] = [],
  ): RoleAssignment {
    const { identity } = this.#known(workload);
    return grant(
      `${workload}-${role}-${on}`,
      { principalId: identity.principalId, role, scope, subscriptionId: this.#args.subscriptionId },
      { parent: this, dependsOn },
    );
  }

  #known(workload: string): Made {
    const made = this.#made.get(workload);
    if (!made) throw new Error(`workload "${workload}" has no identity yet`);
    return made;
  }

  #identity(workload: string, namespace: pulumi.Input<string>): Made {
    const known = this.#made.get(workload);
    if (known) return known;
    const { resourceGroupName, location, oidcIssuerUrl } = this.#args;
    const identity = new UserAssignedIdentity(
      `workload-${workload}`,
      { resourceGroupName, location },
      { parent: this },
    );
    // Azure refuses concurrent writes to the credentials of one identity; each has just one.
    const credential = new FederatedIdentityCredential(
      `workload-${workload}`,
      {
        resourceGroupName,
        resourceName: identity.name,
        federatedIdentityCredentialResourceName: workload,
        issuer: oidcIssuerUrl,
        subject: pulumi.interpolate`system:serviceaccount:${namespace}:${workload}`,
        audiences: ["api://AzureADTokenExchange"],
      },
      { parent: this },
    );
    const made = { identity, credential };
    this.#made.set(workload, made);
    return made;
  }
}
