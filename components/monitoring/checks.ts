import type { StackValues } from "../configSchema";

/**
 * Mistakes that no single key of `groundwork:monitoring` shows: a secret without what uses it, or the other way round, and
 * a production whose alerts nobody gets.
 * @param secretKeys names of the secrets that are set
 */
export function monitoringProblems(
  { monitoring, secrets, environment }: Partial<StackValues>,
  secretKeys: ReadonlySet<string>,
): string[] {
  if (!monitoring) return [];
  const { slack, email, webhookUrl, deadMansSwitch } = monitoring.notifications;
  const uses = [
    { key: "slackWebhookUrl", setting: "notifications.slack", used: slack !== undefined },
    { key: "smtpPassword", setting: "notifications.email.username", used: email?.username !== undefined },
    { key: "deadMansSwitchUrl", setting: "notifications.deadMansSwitch", used: deadMansSwitch !== undefined },
  ];
  const unmatched = uses.flatMap(({ key, setting, used }) => {
    if (!used && secretKeys.has(key))
      return [`groundwork:${key}: nothing uses it; set groundwork:monitoring.${setting}, or remove it`];
    // A vault may hold it already.
    if (!used || secretKeys.has(key) || secrets?.store === "keyVault") return [];
    return [
      `groundwork:${key}: missing; groundwork:monitoring.${setting} needs it: pulumi config set --secret groundwork:${key}`,
    ];
  });
  if (environment !== "production") return unmatched;
  return [
    ...unmatched,
    ...(slack || email || webhookUrl !== undefined
      ? []
      : ["groundwork:monitoring.notifications: production needs slack, email or webhookUrl to tell people"]),
    ...(webhookUrl?.startsWith("http:")
      ? [`groundwork:monitoring.notifications.webhookUrl: production needs https (found "${webhookUrl}")`]
      : []),
  ];
}
