/** The first six of the eight things before a release (docs/release-checklist.md), which `make release` refuses without. */
import { z } from "zod";
import { message, say, UserError } from "../system.ts";
import { checkedOut } from "./evidence.ts";
import { overrideOf, overrides, type Override } from "./overrides.ts";
import { targetOf, type Target } from "./target.ts";
import {
  backupVerdict,
  dashboardsVerdict,
  logRotationVerdict,
  recoveryVerdict,
  securityVerdict,
  testsVerdict,
  type Verdict,
} from "./verdicts.ts";

export const items = [
  "tests",
  "security scan",
  "backup taken",
  "log rotation",
  "dashboards",
  "DR verified",
] as const;
export type Item = (typeof items)[number];
export type Checks = Readonly<Record<Item, () => Promise<Verdict>>>;

export interface Entry extends Verdict {
  readonly item: Item;
  /** Why the release may go on all the same. */
  readonly override?: Override;
}

/** What asks the stack's cluster, this checkout and its registry. */
export async function checksOf(target: Target, stack: string): Promise<Checks> {
  const tree = await checkedOut();
  return {
    tests: () => testsVerdict(tree),
    "security scan": () => securityVerdict(),
    "backup taken": () => backupVerdict(target, stack),
    "log rotation": () => logRotationVerdict(target),
    dashboards: () => dashboardsVerdict(target, stack),
    "DR verified": () => recoveryVerdict(target, stack),
  };
}

/** Every item in the document's order; what cannot be asked is unknown, whatever the reason. */
export async function walk(
  checks: Checks,
  stack: string,
  list: readonly Override[] = overrides,
  today = new Date(),
): Promise<Entry[]> {
  const entries: Entry[] = [];
  for (const item of items) {
    const verdict = await checks[item]().catch((error: unknown): Verdict => {
      return { state: "unknown", seen: message(error), then: "see why, and run this again" };
    });
    const override = overrideOf(list, stack, item, verdict.state, today);
    entries.push({ item, ...verdict, ...(override && { override }) });
  }
  return entries;
}

/** The items that a release must not go on with. */
export const standingAgainst = (entries: readonly Entry[]): Entry[] =>
  entries.filter(({ state, override }) => state !== "passed" && override === undefined);

/** One line for each item. */
export function shown({ item, state, seen, then, override }: Entry): string {
  const reason = override && ` Overridden until ${override.until}: ${override.reason}`;
  return `${item}: ${state}. ${seen}${then === undefined ? "" : ` → ${then}`}${reason ?? ""}`;
}

const notes = "app-release-checks";
const kept = 10;
const recordsShape = z.array(z.unknown());

/** Keeps what was seen with the releases, so that it can be told later why one was let through: the newest ten. */
export async function recordChecks(
  { kubectl }: Target,
  image: string,
  entries: readonly Entry[],
): Promise<void> {
  const path = "--output=jsonpath={.data.records\\.json}";
  const text = await kubectl(["--namespace=app", "get", "configmap", notes, "--ignore-not-found", path]);
  const before = text === "" ? [] : recordsShape.parse(JSON.parse(text));
  const records = [...before, { at: new Date().toISOString(), image, entries }].slice(-kept);
  const data = { "records.json": JSON.stringify(records) };
  const manifest = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: notes, namespace: "app" }, data };
  const apply = ["apply", "--server-side", "--force-conflicts", "--field-manager=groundwork-release"];
  await kubectl([...apply, "--filename=-"], JSON.stringify(manifest));
}

/** Walks through the list, says and records what was seen. @throws {UserError} naming what stands against a release. */
export async function requireChecks(
  target: Target,
  image: string,
  checks: Checks,
  stack: string,
  list: readonly Override[] = overrides,
): Promise<void> {
  const entries = await walk(checks, stack, list);
  for (const entry of entries) say(`release: ${shown(entry)}`);
  await recordChecks(target, image, entries);
  const against = standingAgainst(entries);
  if (against.length === 0) return;
  throw new UserError(
    `${image} is not released: ${against.map(({ item }) => item).join(", ")}. What to do is said above; ` +
      "an item that cannot hold goes into local/delivery/overrides.ts, with the reason.",
  );
}

/** `make checklist STACK=…`: the list, without a release. */
export async function checklistCommand(stack: string): Promise<number> {
  const entries = await walk(await checksOf(await targetOf(stack), stack), stack);
  for (const entry of entries) process.stdout.write(`${shown(entry)}\n`);
  return standingAgainst(entries).length === 0 ? 0 : 1;
}
