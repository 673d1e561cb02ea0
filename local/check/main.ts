/**
 * `make check-config STACK=…`: everything that an `up` of the stack needs, asked for before it is started. Prints what is
 * wrong and how to mend it.
 */
import { homedir } from "node:os";
import { join } from "node:path";
import { KubeConfig } from "@kubernetes/client-node";
import { clusterName } from "../../components/azure/schema.ts";
import { readConfig } from "../../components/config.ts";
import type { StackValues } from "../../components/configSchema.ts";
import { stackImages } from "../../components/configChecks.ts";
import { kubeconfigOf } from "../cluster.ts";
import { stackSettings } from "../stackValues.ts";
import { readIfPresent, run } from "../system.ts";
import { checkNewCluster } from "./aks.ts";
import { checkSubscription, checkVault, type Azure } from "./azure.ts";
import { checkCluster, checkConnections, findContext, mountedVault } from "./cluster.ts";
import { leftExamples } from "./examples.ts";
import { failed, ok, skipped, table, type Finding } from "./findings.ts";
import { checkHost } from "./host.ts";
import { checkImages, type DockerConfig } from "./registry.ts";

/** Azure by way of `az`, which is how people sign in. */
const azureCli: Azure = {
  token: async (resource) => {
    const args = [
      "account",
      "get-access-token",
      "--resource",
      resource,
      "--query",
      "accessToken",
      "--output",
      "tsv",
    ];
    return (await run("az", args)).trim();
  },
  management: "https://management.azure.com",
  vault: (name) => `https://${name}.vault.azure.net`,
};

async function check(stack: string): Promise<Finding[]> {
  const { config, secretKeys } = await stackSettings(stack, false);
  const { values, problems } = readConfig(config, new Set(secretKeys));
  const mistakes = problems.map((problem) =>
    failed(
      "configuration",
      problem,
      `change it in Pulumi.${stack}.yaml; docs/configuration.md lists every key`,
    ),
  );
  if (values === undefined) return mistakes;
  const findings = await Promise.all([
    checkImages(stackImages(values), await dockerConfig()),
    ...values.edge.hosts.map((host) => checkHost(host, values.azure?.dnsZone?.name)),
    onCluster(values),
    ...(values.azure ? [checkSubscription(azureCli, values.azure)] : []),
    ...(values.azure?.cluster === "create"
      ? [checkNewCluster(azureCli, { ...values.azure, name: clusterName(values.azure.prefix, stack) })]
      : []),
  ]);
  return [
    ...(mistakes.length > 0
      ? mistakes
      : [ok("configuration", `Pulumi.${stack}.yaml is complete and consistent`)]),
    ...(values.environment === "production" ? leftExamples(config) : []),
    ...findings.flat(),
  ];
}

/** The cluster and what runs on it; the operator names a created one by CONTEXT, as no file can. */
export async function onCluster({
  cluster,
  azure,
  secrets,
}: Pick<StackValues, "cluster" | "azure" | "secrets">): Promise<Finding[]> {
  const context = cluster.context ?? process.env["CONTEXT"] ?? "";
  if (context === "")
    return [
      skipped("cluster", "made by the first up (azure.cluster: create); afterwards CONTEXT=name says it"),
    ];
  const own = process.env["KUBECONFIG"] ?? join(homedir(), ".kube", "config");
  const path = (await kubeconfigOf(context)) ?? own;
  const found = findContext(path, context);
  if (!(found instanceof KubeConfig)) return [found];
  const answers = await checkCluster(found, azure?.existing?.oidcIssuerUrl);
  if (answers[0]?.state !== "ok") return answers;
  const vault = secrets.store === "keyVault" ? await checkStore(found) : [];
  return [...answers, ...(await checkConnections(found)), ...vault];
}

async function checkStore(config: KubeConfig): Promise<Finding[]> {
  const vault = await mountedVault(config);
  return [
    vault === undefined
      ? skipped("vault", "made by the first up, under a name that nobody had before")
      : await checkVault(azureCli, vault.name, vault.secret),
  ];
}

async function dockerConfig(): Promise<DockerConfig> {
  const directory = process.env["DOCKER_CONFIG"] ?? join(homedir(), ".docker");
  const text = await readIfPresent(join(directory, "config.json"));
  return text === undefined ? {} : (JSON.parse(text) as DockerConfig);
}

/** Prints what was found; gives the exit status, 1 when anything is wrong. */
export async function checkConfiguration(stack: string): Promise<number> {
  const findings = await check(stack);
  process.stdout.write(table(findings));
  const wrong = findings.filter(({ state }) => state === "failed").length;
  process.stdout.write(wrong === 0 ? "\nNothing is wrong.\n" : `\n${wrong} thing(s) to mend.\n`);
  return wrong === 0 ? 0 : 1;
}
