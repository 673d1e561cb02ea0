import type { StackValues } from "../configSchema.ts";
import { mayBeInVault, monitoringUses } from "../neededSecrets.ts";

/**
 * Mistakes that no single key of `groundwork:monitoring` shows: a secret without what uses it, or the other way round, and
 * a production whose alerts nobody gets.
 * @param secretKeys names of the secrets that are set
 */
export function monitoringProblems(config: Partial<StackValues>, secretKeys: ReadonlySet<string>): string[] {
  const { monitoring, environment } = config;
  if (!monitoring) return [];
  const { slack, email, webhookUrl, deadMansSwitch } = monitoring.notifications;
  const { remoteWrite } = monitoring;
  const unmatched = monitoringUses(monitoring).flatMap(({ key, setting, used }) => {
    if (!used && secretKeys.has(key))
      return [`groundwork:${key}: nothing uses it; set groundwork:monitoring.${setting}, or remove it`];
    if (!used || secretKeys.has(key) || mayBeInVault(config)) return [];
    return [
      `groundwork:${key}: missing; groundwork:monitoring.${setting} needs it: pulumi config set --secret groundwork:${key}`,
    ];
  });
  const ineffective = existingProblems(monitoring);
  const named = remoteWrite?.username !== undefined;
  const contradictory =
    remoteWrite && named !== (remoteWrite.auth === "basic")
      ? [
          `groundwork:monitoring.remoteWrite.username: ${named ? "goes with auth: basic only" : "missing; auth: basic needs it"}` +
            ` (found auth: ${remoteWrite.auth})`,
        ]
      : [];
  const problems = [...unmatched, ...ineffective, ...contradictory];
  if (environment !== "production") return problems;
  const plain = [
    ["notifications.webhookUrl", webhookUrl],
    ["remoteWrite.url", remoteWrite?.url],
  ] as const;
  return [
    ...problems,
    ...(slack || email || webhookUrl !== undefined || monitoring.existing
      ? []
      : ["groundwork:monitoring.notifications: production needs slack, email or webhookUrl to tell people"]),
    ...(deadMansSwitch || monitoring.existing
      ? []
      : [
          "groundwork:monitoring.notifications.deadMansSwitch: production needs somebody outside the cluster who raises the alarm " +
            "when alerting itself stops; set it to {}, and the URL that is to be called as groundwork:deadMansSwitchUrl",
        ]),
    ...plain.flatMap(([key, url]) =>
      url?.startsWith("http:")
        ? [`groundwork:monitoring.${key}: production needs https (found "${url}")`]
        : [],
    ),
  ];
}

/** What an existing Prometheus, whose settings are its owners', makes ineffective. */
function existingProblems({ existing, notifications, ...own }: StackValues["monitoring"]): string[] {
  if (!existing) return [];
  const { retentionDays, storageGiB, remoteWrite } = own;
  const told = Object.entries(notifications).map(([key, value]): [string, unknown] => [
    `notifications.${key}`,
    value,
  ]);
  return [...Object.entries({ retentionDays, storageGiB, remoteWrite }), ...told]
    .filter(([, value]) => value !== undefined)
    .map(
      ([key]) =>
        `groundwork:monitoring.${key}: has no effect with monitoring.existing, which its owners look after; remove it`,
    );
}
