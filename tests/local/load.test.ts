import { expect, test } from "vitest";
import { lines } from "../../local/bench/plot.ts";
import { figuresOf } from "../../local/delivery/loadFigures.ts";
import { growth } from "../../local/delivery/soakVerdict.ts";

const values = (of: Record<string, number>) => ({ values: of });
const summary = ({ failed = 0, p95 = 10 }) => ({
  metrics: {
    http_reqs: values({ count: 120_000, rate: 8.3 }),
    http_req_failed: values({ rate: failed }),
    checks: values({ rate: 1 - failed }),
    http_req_duration: values({ "p(95)": p95, max: 2 * p95 }),
  },
});
const missed = (of: Parameters<typeof summary>[0]) =>
  figuresOf(summary(of)).flatMap(({ what, target, values: [value = Number.NaN] }) =>
    target?.holds(value) === false ? what : [],
  );

test("what k6 measured misses a target when a thousandth failed, or a twentieth took half a second", () => {
  expect(missed({})).toEqual([]);
  expect(missed({ failed: 0.0009 })).toEqual([]);
  expect(missed({ failed: 0.002 })).toEqual(["failed requests", "answers as they should be"]);
  expect(missed({ p95: 500 })).toEqual(["p95"]);
});

test("what is no summary of k6 is refused", () => {
  expect(() => figuresOf({ metrics: {} })).toThrow("http_reqs");
});

test("memory has grown by what the last quarter of a soak has more than the second; the start does not count", () => {
  const course = (pod: string, mebibytes: (minute: number) => number) => ({
    labels: { pod },
    points: Array.from({ length: 241 }, (_, minute) => ({
      atSeconds: 1_000 + 60 * minute,
      value: mebibytes(minute) * 2 ** 20,
    })),
  });
  const courses = [
    course("flat", (minute) => (minute < 30 ? 40 : 100)),
    course("leaking", (minute) => 100 + minute),
  ];
  const [flat, leaking] = growth(courses, 1_000, 1_000 + 60 * 240);
  expect(flat).toEqual({ pod: "flat", ratio: 1, mebibytes: 100 });
  expect(leaking?.mebibytes).toBeCloseTo(310);
  expect(leaking?.ratio).toBeCloseTo(310 / 190);
});

test("courses are drawn from the first to the last point, the greatest value at the top", () => {
  const svg = lines("Memory", { x: "minutes", y: "MiB" }, [
    {
      label: "a<b",
      points: [
        [0, 10],
        [60, 40],
      ],
    },
    { label: "c", points: [[30, 20]] },
  ]);
  expect(svg).toContain('d="M70 215L460 50"');
  expect(svg).toContain('d="M265 160"');
  expect(svg).toContain("a&lt;b");
});
