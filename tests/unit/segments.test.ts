import { join } from "node:path";

import { describe, expect, test } from "vitest";

import { runTool } from "./tools.ts";

/** Evaluates an expression of Python with the rule's names, and `given`; gives its value. */
function rule(expression: string, given: unknown): unknown {
  const program = [
    "import json, sys",
    "from datetime import datetime",
    "sys.path.insert(0, sys.argv[1])",
    "from segments import LogRange, end_of_log, missing, parse, segment_before, segment_name, superseded",
    "given = json.loads(sys.argv[2])",
    `print(json.dumps(${expression}))`,
  ];
  const programs = join(import.meta.dirname, "..", "..", "k8s-manifests", "backup");
  const { output } = runTool("python3", ["-B", "-c", program.join("\n"), programs, JSON.stringify(given)]);
  return JSON.parse(output) as unknown;
}

/** Of the archive, as barman-cloud lays it down. */
function blob(segment: string, system = "7", rest = ""): string {
  return `wal/${system}/wals/${segment.slice(0, 16)}/${segment}${rest}.zst`;
}

interface Kept {
  readonly system: string;
  readonly first: string;
}

/** What goes of blobs that were written on 1 March (`old`) and on 2 March (`young`), when the limit lies between. */
function gone(old: readonly string[], kept: readonly Kept[], young: readonly string[] = []): unknown {
  const moments = [...old.map((name) => [name, "2026-03-01"]), ...young.map((name) => [name, "2026-03-02"])];
  const files = "[parse(name, datetime.fromisoformat(day)) for name, day in given['moments']]";
  const ranges = "[LogRange(one['system'], one['first'], one['first']) for one in given['kept']]";
  const limit = "datetime.fromisoformat('2026-03-01T12:00')";
  return rule(`[file.name for file in superseded(filter(None, ${files}), ${ranges}, ${limit})]`, {
    moments,
    kept,
  });
}

const [first, second, third] = [
  "00000001000000000000000A",
  "00000001000000000000000B",
  "00000001000000000000000C",
];
const beforeLog = "0000000100000000000000FF";
const afterLog = "000000010000000100000000";

// Each starts Python, which a busy machine does slowly.
describe("the archived log", { timeout: 30_000 }, () => {
  test("names the segment of a position, and the one before it", () => {
    expect(rule("segment_before(given)", afterLog)).toBe(beforeLog);
    expect(rule("segment_name(3, 0x1, 0xFE000028)", {})).toBe("0000000300000001000000FE");
  });

  test("has a gap where a segment is missing that the backup needs, or that others come after", () => {
    const gap = "missing(given['present'], LogRange('7', given['first'], given['last']))";
    expect(rule(gap, { present: [first, second], first, last: second })).toBeNull();
    expect(rule(gap, { present: [first], first, last: second })).toBe(second);
    expect(rule(gap, { present: [first, third], first, last: first })).toBe(second);
    expect(rule(gap, { present: [second], first, last: first })).toBe(first);
    expect(rule(gap, { present: [beforeLog, afterLog], first: beforeLog, last: afterLog })).toBeNull();
    const other = `00000002${second.slice(8)}`;
    expect(rule(gap, { present: [first, other, third], first, last: first })).toBe(second);
  });

  test("ends where its newest segment begins, on its newest timeline, if that is beyond what the backup needs", () => {
    const end = "end_of_log(given['present'], LogRange('7', given['first'], given['last']))";
    expect(rule(end, { present: [first, third, second], first, last: second })).toBe("0/C000000");
    expect(rule(end, { present: [first, second], first, last: second })).toBeNull();
    expect(rule(end, { present: [beforeLog, afterLog], first: beforeLog, last: beforeLog })).toBe("1/0");
    const taken = `00000002${third.slice(8)}`;
    const left = "0000000100000000000000FF";
    expect(rule(end, { present: [first, left, taken], first, last: first })).toBe("0/C000000");
  });

  test("loses what comes before the oldest kept base backup, with labels and partial segments, and nothing after", () => {
    const label = blob(first, "7", ".00000028.backup");
    const partial = blob(first, "7", ".partial");
    const history = "wal/7/wals/00000002.history.zst";
    // As a version of this before sent them.
    const zipped = blob(first).replace(/zst$/, "gz");
    const old = [blob(first), zipped, label, partial, blob(second), history, blob(third)];
    const kept = [
      { system: "7", first: third },
      { system: "7", first: second },
    ];
    expect(gone(old, kept)).toEqual([blob(first), zipped, label, partial]);
  });

  test("keeps what is younger than the limit, and everything while there is no base backup", () => {
    expect(gone([], [{ system: "7", first: third }], [blob(first)])).toEqual([]);
    expect(gone([blob(first)], [])).toEqual([]);
  });

  test("loses the old log of another system of which no base backup is kept", () => {
    const other = blob(third, "8");
    expect(gone([blob(third), other], [{ system: "7", first }])).toEqual([other]);
  });
});
