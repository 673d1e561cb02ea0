import type { SecretValues, StackValues } from "./configSchema.ts";

/** Sections of the configuration; one that is wrong in itself is absent. */
type Sections = Partial<StackValues>;

/**
 * Whether somebody may have put secrets into the vault. Not where the stack makes its cluster: pods then mount them in the
 * same `up` that makes the vault.
 */
export function mayBeInVault({ secrets, azure }: Sections): boolean {
  return secrets?.store === "keyVault" && azure?.cluster !== "create";
}

/** Secrets that pods mount whatever is watched, in the order in which they are asked for. */
export function mountedSecrets({ azure, edge, app, postgres, redis }: Sections): (keyof SecretValues)[] {
  const givesOwn = edge?.mode !== "controller" && (edge?.certificate.from ?? "given") === "given";
  const isOurs = (server: { readonly kind: string } | undefined): boolean =>
    server === undefined || server.kind === "cluster";
  return [
    ...(givesOwn ? (["tlsBundle"] as const) : []),
    "internalCa",
    ...(isOurs(postgres) ? (["postgresTls"] as const) : []),
    ...(isOurs(redis) ? (["redisTls"] as const) : []),
    ...(app?.container.tls === false ? [] : (["appTls"] as const)),
    ...(azure ? [] : (["azuriteTls"] as const)),
    "ageIdentity",
    ...(postgres?.kind === "existing" ? (["postgresCa", "postgresAdminPassword"] as const) : []),
  ];
}

/** Each secret of `groundwork:monitoring`, the setting that needs it, and whether that is set. */
export function monitoringUses({ notifications, remoteWrite }: StackValues["monitoring"]) {
  const { slack, email, deadMansSwitch } = notifications;
  const signsIn = remoteWrite !== undefined && remoteWrite.auth !== "none";
  return [
    { key: "slackWebhookUrl", setting: "notifications.slack", used: slack !== undefined },
    { key: "smtpPassword", setting: "notifications.email.username", used: email?.username !== undefined },
    { key: "deadMansSwitchUrl", setting: "notifications.deadMansSwitch", used: deadMansSwitch !== undefined },
    { key: "remoteWriteCredential", setting: "remoteWrite.auth", used: signsIn },
  ];
}

/** Every secret that the configuration must give. */
export function neededSecrets(config: StackValues): string[] {
  if (mayBeInVault(config)) return [];
  const watching = monitoringUses(config.monitoring).flatMap(({ key, used }) => (used ? [key] : []));
  return [...mountedSecrets(config), ...watching];
}
