/** A resource that may break a rule, and until when: after that day the rule holds for it again. */
export interface Exception {
  /** Name of the rule. */
  readonly rule: string;
  /** Pulumi name of the resource. */
  readonly resource: string;
  readonly reason: string;
  /** Last day, as YYYY-MM-DD (UTC). */
  readonly until: string;
}

export const exceptions: readonly Exception[] = [
  {
    rule: "no-host-access",
    resource: "log-agent",
    reason:
      "Containers' logs are files of their node, and Kubernetes offers no other way to read all of them. The mount is " +
      "read-only, the process an unprivileged user, its namespace holds nothing else and lets nothing in but scrapes.",
    until: "2027-11-30",
  },
];

/** Whether the resource may break the rule on that day. */
export function isExcepted(
  list: readonly Exception[],
  rule: string,
  resource: string,
  today: Date = new Date(),
): boolean {
  const day = today.toISOString().slice(0, 10);
  return list.some((entry) => entry.rule === rule && entry.resource === resource && day <= entry.until);
}
