import { expect, test } from "vitest";
import { longestPause } from "../chaos/pause.ts";

test("the longest pause counts what began before the fault, and what has not ended yet", () => {
  expect(longestPause([1000, 2000, 5000], 2500, 6000)).toBe(3);
  expect(longestPause([1000, 2000], 2500, 9000)).toBe(7);
  // What was slow before the fault is not its doing.
  expect(longestPause([0, 9000, 9500], 9400, 9600)).toBe(0.5);
  expect(longestPause([], 1000, 4000)).toBe(3);
});
