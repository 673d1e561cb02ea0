/** What can be asked of Azure before an `up`: who one is, what one may do, whether region and vault are there. */
import { resourceProviders } from "../bootstrapAzure.ts";
import { failed, ok, skipped, type Finding } from "./findings.ts";

/** Azure as the person at the keyboard reaches it. */
export interface Azure {
  /** A token for a resource such as `https://vault.azure.net`; throws with what `az` says. */
  readonly token: (resource: string) => Promise<string>;
  /** URL of the resource manager. */
  readonly management: string;
  /** URL of a vault. */
  readonly vault: (name: string) => string;
}

export interface AzureTarget {
  readonly subscriptionId: string;
  readonly location: string;
}

/** What Pulumi does on the subscription, by one action of each kind. */
const neededActions = [
  "Microsoft.Resources/subscriptions/resourceGroups/write",
  "Microsoft.Authorization/roleAssignments/write",
  "Microsoft.KeyVault/vaults/write",
  "Microsoft.KeyVault/vaults/secrets/write",
  "Microsoft.Storage/storageAccounts/write",
  "Microsoft.ManagedIdentity/userAssignedIdentities/write",
  "Microsoft.Network/privateEndpoints/write",
  "Microsoft.OperationalInsights/workspaces/write",
] as const;

/** What deleting a secret takes, which is asked of the vault itself. */
const neededDataAction = "Microsoft.KeyVault/vaults/secrets/delete";

export interface Permission {
  readonly actions?: readonly string[];
  readonly notActions?: readonly string[];
  readonly dataActions?: readonly string[];
  readonly notDataActions?: readonly string[];
}

/** Which of the actions no permission gives; Azure's wildcards are stars, upper and lower case are one. */
export function missingActions(
  permissions: readonly Permission[],
  wanted: readonly string[] = neededActions,
): string[] {
  const matches = (action: string, patterns: readonly string[] = []): boolean =>
    patterns.some((pattern) => {
      const expression = pattern.replaceAll(/[.+?^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*");
      return new RegExp(`^${expression}$`, "i").test(action);
    });
  return wanted.filter(
    (action) =>
      !permissions.some(
        ({ actions, notActions }) => matches(action, actions) && !matches(action, notActions),
      ),
  );
}

function mayDeleteSecrets(permissions: readonly Permission[]): boolean {
  const onData = permissions.map(({ dataActions = [], notDataActions = [] }) => ({
    actions: dataActions,
    notActions: notDataActions,
  }));
  return missingActions(onData, [neededDataAction]).length === 0;
}

interface List<T> {
  readonly value?: readonly T[];
}

/** Which of the kinds of resources that an `up` makes the subscription does not know yet. */
async function providersOf(answer: Response): Promise<Finding> {
  const check = "Azure resource providers";
  if (!answer.ok) return skipped(check, `Azure does not say which are registered (${answer.status})`);
  const { value = [] } = (await answer.json()) as List<{
    readonly namespace: string;
    readonly registrationState: string;
  }>;
  const registered = value
    .filter(({ registrationState }) => registrationState === "Registered")
    .map(({ namespace }) => namespace.toLowerCase());
  const missing = resourceProviders.filter((name) => !registered.includes(name.toLowerCase()));
  return missing.length === 0
    ? ok(check, "all that an up needs are registered")
    : failed(
        check,
        `not registered: ${missing.join(", ")}`,
        "for each: az provider register --wait --namespace …",
      );
}

/** Subscription, permissions, kinds of resources and region. */
export async function checkSubscription(azure: Azure, target: AzureTarget): Promise<Finding[]> {
  const { subscriptionId, location } = target;
  const check = "Azure subscription";
  let token: string;
  try {
    token = await azure.token("https://management.azure.com");
  } catch (error) {
    return [
      failed(
        check,
        `no sign-in: ${error instanceof Error ? error.message : String(error)}`,
        "install az, then: az login",
      ),
    ];
  }
  const get = (path: string): Promise<Response> =>
    call(`${azure.management}/subscriptions/${subscriptionId}${path}`, token);
  try {
    const found = await get("/locations?api-version=2022-12-01");
    if (!found.ok) {
      return [
        failed(
          check,
          `${subscriptionId}: Azure answered ${found.status}`,
          "set groundwork:azure.subscriptionId to one of: az account list --output table",
        ),
      ];
    }
    const regions = ((await found.json()) as List<{ readonly name: string }>).value ?? [];
    const answer = await get("/providers/Microsoft.Authorization/permissions?api-version=2022-04-01");
    const permissions = answer.ok ? (((await answer.json()) as List<Permission>).value ?? []) : [];
    const missing = missingActions(permissions);
    const providers = await providersOf(await get("/providers?api-version=2021-04-01"));
    return [
      ok(check, subscriptionId),
      missing.length === 0
        ? ok("Azure permissions", "all that an up needs")
        : failed(
            "Azure permissions",
            `missing: ${missing.join(", ")}`,
            "have Contributor and Role Based Access Control Administrator granted on the subscription",
          ),
      mayDeleteSecrets(permissions)
        ? ok("Azure permissions on secrets", "an up may delete them")
        : skipped(
            "Azure permissions on secrets",
            "Key Vault Secrets Officer is not yours on the subscription: an up that takes a secret away needs it there or on " +
              "the stack's vault, which is not looked at",
          ),
      providers,
      regions.some(({ name }) => name === location)
        ? ok("Azure region", location)
        : failed(
            "Azure region",
            `"${location}" is none of this subscription`,
            "set groundwork:azure.location to a name of: az account list-locations --output table",
          ),
    ];
  } catch (error) {
    return [failed(check, `Azure cannot be reached (${reason(error)})`, "check the network and its proxy")];
  }
}

const refusals: Readonly<Record<string, string>> = {
  ForbiddenByFirewall:
    "add this network to groundwork:azure.allowlist (access: allowlist), or run inside the network",
  ForbiddenByConnection: "run inside the stack's network: azure.access is private",
  ForbiddenByRbac: "have Key Vault Secrets User granted on the vault",
};

/** Whether the vault answers and lets one read, by one secret. */
export async function checkVault(azure: Azure, name: string, secret: string): Promise<Finding> {
  const check = `vault ${name}`;
  try {
    const token = await azure.token("https://vault.azure.net");
    const answer = await call(`${azure.vault(name)}/secrets/${secret}?api-version=7.4`, token);
    if (answer.ok) return ok(check, `answers, and ${secret} can be read`);
    const { error } = (await answer.json().catch(() => ({}))) as {
      error?: { code?: string; innererror?: { code?: string } };
    };
    const code = error?.innererror?.code ?? error?.code ?? String(answer.status);
    const mend =
      refusals[code] ??
      (answer.status === 404
        ? `put ${secret} into the vault: az keyvault secret set --vault-name ${name} --name ${secret} --file …`
        : "az login, in the tenant of groundwork:azure.tenantId");
    return failed(check, `${secret}: ${answer.status} ${code}`, mend);
  } catch (error) {
    return failed(
      check,
      `cannot be reached (${reason(error)})`,
      "with azure.access: private, run inside the stack's network; otherwise: az login",
    );
  }
}

export function call(url: string, token: string): Promise<Response> {
  return fetch(url, { headers: { authorization: `Bearer ${token}` }, signal: AbortSignal.timeout(15_000) });
}

export function reason(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof Error ? cause.message : String(cause);
}
