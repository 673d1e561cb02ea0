import { describe, expect, it } from "vitest";
import { medianOf, tableOf } from "../../local/bench/report.ts";

describe("the benchmark's report", () => {
  it.each([
    [[3], 3],
    [[5, 1, 3], 3],
    [[4, 1, 2, 3], 2.5],
  ])("has the median of %j", (values, median) => {
    expect(medianOf(values)).toBe(median);
  });

  it("shows minimum, median and maximum, and whether the median meets the target", () => {
    const target = { text: "≥ 0.6", holds: (median: number) => median >= 0.6 };
    const lines = tableOf([
      { what: "met", unit: "ratio", values: [0.5, 0.7, 0.6], target },
      { what: "missed", unit: "ratio", values: [0.9, 0.5, 0.4], target },
      { what: "without", unit: "req/s", values: [1234.5] },
    ]).split("\n");
    expect(lines.slice(2)).toEqual([
      "| met | ratio | 3 | 0.50 | 0.60 | 0.70 | ≥ 0.6 | yes |",
      "| missed | ratio | 3 | 0.40 | 0.50 | 0.90 | ≥ 0.6 | **no** |",
      "| without | req/s | 1 | 1235 | 1235 | 1235 |  |  |",
    ]);
  });
});
