import { readFileSync } from "node:fs";
import { expect, test, vi } from "vitest";
import { timesAskedFor } from "../../local/tests.ts";
import { longestPause } from "../chaos/pause.ts";
import { cellsOf, replaceRow, reportFile } from "../chaos/report.ts";

test("the longest pause counts what began before the fault, and what has not ended yet", () => {
  expect(longestPause([1000, 2000, 5000], 2500, 6000)).toBe(3);
  expect(longestPause([1000, 2000], 2500, 9000)).toBe(7);
  // What was slow before the fault is not its doing.
  expect(longestPause([0, 9000, 9500], 9400, 9600)).toBe(0.5);
  expect(longestPause([], 1000, 4000)).toBe(3);
});

test.each(["x", "0", "-1", "1.5", ""])(
  "a fault is not made %j times, which would count as passed",
  (times) => {
    vi.stubEnv("TIMES", times);
    expect(timesAskedFor).toThrow(`TIMES is "${times}" and may be a whole number from 1`);
  },
);

test("every fault has its row in docs/reliability.md, and no other", () => {
  const source = (file: string) => readFileSync(new URL(`../chaos/${file}`, import.meta.url), "utf8");
  const faults = [...source("faults.test.ts").matchAll(/^ {2}"([a-z-]+)": \{ make/gm)].map(
    ([, name]) => name,
  );
  const cases = [...source("release.test.ts").matchAll(/^ {4}\["(\w+)", \//gm)].map(([, name = ""]) => name);
  const wanted = [...faults, ...[...cases, "rollback"].map((name) => `bad-release: ${name}`)];
  const page = readFileSync(reportFile, "utf8").split("## By the tests")[0] ?? "";
  const rows = [...page.matchAll(/^\| [A-Z]\d+ +\| `([^`]+)`/gm)].map(([, name]) => name);
  expect(cases.length).toBeGreaterThan(0);
  expect(rows.toSorted()).toEqual(wanted.toSorted());
});

test("a fault's row has sums of what was counted, and shows which runs did not pass", () => {
  const one = { passed: true, acknowledged: 100, failed: 0, lost: 0, doubled: 0, recoverySeconds: 2 };
  const cells = cellsOf(
    "a-fault",
    [one, { ...one, recoverySeconds: 4 }, { ...one, passed: false, lost: 1 }],
    1,
  );
  expect(cells.slice(0, 7)).toEqual(["4", "**2**", "300", "0", "1", "0", "2.00 / 2.00 / 4.00"]);
  expect(cells[7]).toMatch(/^\d{4}-\d\d-\d\d, \d+ cores, .*: `make chaos FAULT=a-fault TIMES=4`$/);
  const uncounted = { passed: true, acknowledged: 1, failed: 0, recoverySeconds: 2 };
  expect(cellsOf("bad-release: slow", [uncounted], 0).slice(0, 6)).toEqual(["1", "1", "1", "0", "", ""]);
  expect(cellsOf("a-fault", [], 1).slice(0, 7)).toEqual(["1", "**0**", "", "", "", "", ""]);
});

test("a fault's row replaces its own and no other", () => {
  const page = "| R1 | `one` | holds | old | \n| R2 | `other` | holds | old |\n";
  expect(replaceRow(page, "one", ["new"])).toBe(
    "| R1 | `one` | holds | new |\n| R2 | `other` | holds | old |\n",
  );
  expect(() => replaceRow(page, "third", [])).toThrow(/no row for third/);
});
