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

export const exceptions: readonly Exception[] = [];

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
