/** What can be asked of Azure about a cluster that the first `up` will make: its version, and cores for its nodes. */
import type { AzureValues } from "../../components/azure/schema.ts";
import { call, reason, type Azure } from "./azure.ts";
import { failed, ok, skipped, type Finding } from "./findings.ts";

export interface NewCluster extends Pick<AzureValues, "subscriptionId" | "location" | "aks"> {
  /** Its DNS prefix, by which it is found when it was made already. */
  readonly name: string;
}

/** A size of virtual machine, as a region offers it to the subscription. */
interface Size {
  readonly name: string;
  /** Sizes that share a quota. */
  readonly family?: string;
  readonly capabilities?: readonly { readonly name: string; readonly value: string }[];
  readonly restrictions?: readonly { readonly type: string }[];
}

/** What is used of a quota of cores. */
interface Usage {
  readonly name: { readonly value: string };
  readonly currentValue: number;
  readonly limit: number;
}

interface Version {
  readonly version: string;
  readonly isPreview?: boolean | null;
  readonly capabilities?: { readonly supportPlan?: readonly string[] };
}

/** Whether Azure will make the cluster as it is configured; nothing to ask once it is there. */
export async function checkNewCluster(azure: Azure, cluster: NewCluster): Promise<Finding[]> {
  const { subscriptionId, location, aks, name } = cluster;
  try {
    const token = await azure.token("https://management.azure.com");
    const get = async <T>(path: string): Promise<T> => {
      const url = `${azure.management}/subscriptions/${subscriptionId}/providers/${path}`;
      const answer = await call(url, token);
      if (!answer.ok) throw new Error(`${path.split("?")[0] ?? ""}: ${answer.status}`);
      return (await answer.json()) as T;
    };
    const list = async <T>(path: string): Promise<readonly T[]> =>
      (await get<{ readonly value?: readonly T[] }>(path)).value ?? [];
    const made = await list<{ readonly properties?: { readonly dnsPrefix?: string } }>(
      "Microsoft.ContainerService/managedClusters?api-version=2025-09-01",
    );
    if (made.some(({ properties }) => properties?.dnsPrefix === name)) return [ok("AKS", `${name} is there`)];
    const [{ values = [] }, sizes, usages] = await Promise.all([
      get<{ readonly values?: readonly Version[] }>(
        `Microsoft.ContainerService/locations/${location}/kubernetesVersions?api-version=2025-09-01`,
      ),
      list<Size>(`Microsoft.Compute/skus?api-version=2021-07-01&$filter=location eq '${location}'`),
      list<Usage>(`Microsoft.Compute/locations/${location}/usages?api-version=2024-07-01`),
    ]);
    return [ofVersion(aks.kubernetesVersion, values, location), ...ofCores(cluster, sizes, usages)];
  } catch (error) {
    return [skipped("AKS", `Azure cannot be asked for versions and cores (${reason(error)})`)];
  }
}

function ofVersion(wanted: string, versions: readonly Version[], location: string): Finding {
  const supported = versions
    .filter(
      ({ isPreview, capabilities }) =>
        isPreview !== true && capabilities?.supportPlan?.includes("KubernetesOfficial"),
    )
    .map(({ version }) => version)
    .sort();
  return supported.includes(wanted)
    ? ok("AKS version", wanted)
    : failed(
        "AKS version",
        `${wanted} is not supported in ${location}`,
        `set groundwork:azure.aks.kubernetesVersion to one of: ${supported.join(", ")}`,
      );
}

const alike = (one: string, other: string): boolean => one.toLowerCase() === other.toLowerCase();

function ofCores({ aks, location }: NewCluster, sizes: readonly Size[], usages: readonly Usage[]): Finding[] {
  /** Name of the quota → cores, to begin with and with as many nodes as the autoscaler may add; `cores` is the region's. */
  const needed = new Map<string, { first: number; most: number }>();
  const missing: Finding[] = [];
  for (const key of ["systemPool", "userPool"] as const) {
    const { vmSize, minNodes, maxNodes } = aks[key];
    const size = sizes.find(({ name }) => alike(name, vmSize));
    const each = Number(size?.capabilities?.find(({ name }) => name === "vCPUs")?.value);
    if (!size?.family || !each || size.restrictions?.some(({ type }) => type === "Location")) {
      missing.push(
        failed(
          `VM size ${vmSize}`,
          `is not offered to this subscription in ${location}`,
          `set groundwork:azure.aks.${key}.vmSize to one that is: az vm list-skus --location ${location} --resource-type virtualMachines --output table`,
        ),
      );
      continue;
    }
    for (const quota of [size.family, "cores"]) {
      const { first, most } = needed.get(quota) ?? { first: 0, most: 0 };
      needed.set(quota, { first: first + minNodes * each, most: most + maxNodes * each });
    }
  }
  const quotas = [...needed].map(([quota, { first, most }]) => {
    const { currentValue = 0, limit = 0 } = usages.find(({ name }) => alike(name.value, quota)) ?? {};
    const left = limit - currentValue;
    return left >= first
      ? ok(`vCPUs ${quota}`, `${first} to begin with, ${most} at most; ${left} of ${limit} are free`)
      : failed(
          `vCPUs ${quota}`,
          `${first} to begin with; ${left} of ${limit} are free in ${location}`,
          "ask for more in Azure's portal (Quotas, Compute), or take less in groundwork:azure.aks",
        );
  });
  return [...missing, ...quotas];
}
