import type { Resource } from "./resource.ts";
import type { StackFacts } from "./rules.ts";

/** What a resource may do against a rule, and until when: after that day the rule holds for it again. */
export interface Exception {
  /** Name of the rule. */
  readonly rule: string;
  /** Pulumi type of the resource. */
  readonly type: string;
  /** Pulumi name of the resource. */
  readonly resource: string;
  /** Complaints of the rule, word for word, that are not made; every other one is. */
  readonly excused: (stack: StackFacts) => readonly string[];
  readonly reason: string;
  /** Last day, as YYYY-MM-DD (UTC). */
  readonly until: string;
}

export const exceptions: readonly Exception[] = [
  {
    rule: "no-host-access",
    type: "kubernetes:apps/v1:DaemonSet",
    resource: "log-agent",
    excused: ({ podLogs }) => [`must not read ${podLogs} of the host`],
    reason:
      "Containers' logs are files of their node, and Kubernetes offers no other way to read all of them. The mount is " +
      "read-only, the process an unprivileged user, its namespace holds nothing else and lets nothing in but scrapes.",
    until: "2027-11-30",
  },
];

/** What is left of a rule's complaints about a resource on that day. */
export function unexcused(
  list: readonly Exception[],
  rule: string,
  { type, name }: Pick<Resource, "type" | "name">,
  stack: StackFacts,
  complaints: readonly string[],
  today: Date = new Date(),
): readonly string[] {
  const day = today.toISOString().slice(0, 10);
  const excused = list
    .filter((entry) => entry.rule === rule && entry.type === type && entry.resource === name)
    .filter(({ until }) => day <= until)
    .flatMap((entry) => entry.excused(stack));
  return complaints.filter((complaint) => !excused.includes(complaint));
}
