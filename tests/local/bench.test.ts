import { readFileSync } from "node:fs";
import { describe, expect, it, test } from "vitest";
import { bars, line } from "../../local/bench/plot.ts";
import { medianOf, ratios, replaceBetween, reportFile, tableOf } from "../../local/bench/report.ts";

describe("the benchmark's report", () => {
  it.each([
    [[3], 3],
    [[5, 1, 3], 3],
    [[4, 1, 2, 3], 2.5],
  ])("has the median of %j", (values, median) => {
    expect(medianOf(values)).toBe(median);
  });

  it("takes a ratio run by run", () => {
    expect(ratios([1, 9], [2, 3])).toEqual([0.5, 3]);
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

  it("replaces one part of the page and nothing else", () => {
    const page =
      "before\n<!-- a:begin -->\n\nold\n\n<!-- a:end -->\n<!-- b:begin -->\n\nother\n\n<!-- b:end -->\n";
    expect(replaceBetween(page, "a", "new")).toBe(page.replace("old", "new"));
    expect(() => replaceBetween(page, "c", "new")).toThrow(/c:begin/);
  });
});

test("every part of `make bench` has its place in docs/benchmarks.md, and no other", () => {
  const main = readFileSync(new URL("../../local/bench/main.ts", import.meta.url), "utf8");
  const parts = [...main.matchAll(/^ {2}(\w+): \{ title: /gm)].map(([, name]) => name);
  const places = [...readFileSync(reportFile, "utf8").matchAll(/<!-- (\w+):begin -->/g)].map(
    ([, name]) => name,
  );
  expect(parts.length).toBeGreaterThan(5);
  expect(places).toEqual(parts);
});

describe("a plot", () => {
  const numbers = (svg: string, attribute: string) =>
    [...svg.matchAll(new RegExp(` ${attribute}="(\\d+(?:\\.\\d+)?)"`, "g"))].map(([, value]) =>
      Number(value),
    );

  it("has a bar as long as its median, and names what it shows as text", () => {
    const svg = bars("A <title>", "s", [
      { label: "half & half", values: [4, 5, 6] },
      { label: "whole", values: [10] },
    ]);
    const [, half = 0, whole = 0] = [...svg.matchAll(/<rect [^>]*?width="([\d.]+)"/g)].map(([, width]) =>
      Number(width),
    );
    expect(half / whole).toBeCloseTo(0.5, 1);
    expect(svg).toContain("A &lt;title&gt;");
    expect(svg).toContain("half &amp; half");
  });

  it("draws what grows in proportion", () => {
    const svg = line("t", { x: "n", y: "s" }, [
      { x: 1, values: [1] },
      { x: 10, values: [10] },
    ]);
    const [first = 0, last = 0] = numbers(svg, "cy");
    const [left = 0, right = 0] = numbers(svg, "cx");
    // From the axes' crossing at 70, 270.
    expect((270 - first) / (270 - last)).toBeCloseTo(0.1, 2);
    expect((left - 70) / (right - 70)).toBeCloseTo(0.1, 2);
  });
});
