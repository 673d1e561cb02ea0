import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, describe, expect, test } from "vitest";

import { runTool } from "./tools.ts";

const folder = mkdtempSync(join(tmpdir(), "groundwork-expiry-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const now = new Date("2026-03-31T12:00:00Z");
const day = 86_400_000;

interface Case {
  /** Name → age in days. */
  readonly backups: Readonly<Record<string, number>>;
  /** Those of which a manifest or the dump is missing. */
  readonly incomplete?: readonly string[];
  readonly verified?: string;
  readonly retentionDays?: number;
  readonly immutableDays?: number;
}

/** What the backups' own rule would delete. */
function deleted(given: Case): string[] {
  const { backups, incomplete = [], verified = null, retentionDays = 30, immutableDays = 0 } = given;
  const taken = Object.entries(backups).map(([name, age]) => [
    name,
    new Date(now.getTime() - age * day).toISOString(),
  ]);
  const input = join(folder, "input.json");
  const complete = Object.keys(backups).filter((name) => !incomplete.includes(name));
  const rule = { now: now.toISOString(), retentionDays, immutableDays };
  writeFileSync(input, JSON.stringify({ taken, complete, verified, ...rule }));
  const program = [
    "import json, sys",
    "from datetime import datetime",
    "sys.path.insert(0, sys.argv[1])",
    "from expiry import deletion_limit, expired",
    "given = json.load(open(sys.argv[2]))",
    "moment = lambda text: datetime.fromisoformat(text.replace('Z', '+00:00'))",
    "limit = deletion_limit(moment(given['now']), given['retentionDays'], given['immutableDays'])",
    "taken = {name: moment(text) for name, text in given['taken']}",
    "print(json.dumps(expired(taken, given['complete'], given['verified'], limit)))",
  ];
  const programs = join(import.meta.dirname, "..", "..", "k8s-manifests", "backup");
  const { output } = runTool("python3", ["-B", "-c", program.join("\n"), programs, input]);
  return JSON.parse(output) as string[];
}

// Each starts Python, which a busy machine does slowly.
describe("retention", { timeout: 30_000 }, () => {
  test("deletes what is older than it is kept, oldest first, and nothing younger", () => {
    const backups = { "hourly/new": 0, "hourly/edge": 30, "daily/old": 30.01, "weekly/older": 90 };
    expect(deleted({ backups, verified: "hourly/new" })).toEqual(["weekly/older", "daily/old"]);
  });

  test("never deletes the newest verified backup, however old it is", () => {
    const backups = { "hourly/broken": 1, "daily/good": 400, "daily/before": 401 };
    expect(deleted({ backups, verified: "daily/good" })).toEqual(["daily/before"]);
  });

  test("keeps the newest complete backup beside it when there are no young ones", () => {
    const backups = { "hourly/last": 40, "daily/verified": 41, "daily/before": 42 };
    expect(deleted({ backups, verified: "daily/verified" })).toEqual(["daily/before"]);
  });

  test("deletes nothing while no backup has been verified", () => {
    expect(deleted({ backups: { "hourly/a": 1, "daily/b": 100 } })).toEqual([]);
  });

  test("deletes the rest of interrupted runs, and never takes one for the newest", () => {
    const backups = { "hourly/interrupted": 31, "hourly/good": 35, "hourly/before": 36 };
    expect(deleted({ backups, incomplete: ["hourly/interrupted"], verified: "hourly/good" })).toEqual([
      "hourly/before",
      "hourly/interrupted",
    ]);
  });

  test("waits until the store's immutability has ended, even if that is longer", () => {
    const given = { backups: { "hourly/new": 0, "daily/old": 45 }, verified: "hourly/new" };
    expect(deleted({ ...given, immutableDays: 44 })).toEqual([]);
    expect(deleted({ ...given, immutableDays: 43 })).toEqual(["daily/old"]);
  });
});
