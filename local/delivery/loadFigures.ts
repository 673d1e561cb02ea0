/** What k6 says at its end, as figures of a report. */
import { z } from "zod";
import { atLeast, below, type Figure } from "../bench/report.ts";

const rate = z.object({ values: z.object({ rate: z.number() }) });
const summaryShape = z.object({
  metrics: z.object({
    http_reqs: z.object({ values: z.object({ count: z.number(), rate: z.number() }) }),
    http_req_failed: rate,
    checks: rate,
    http_req_duration: z.object({ values: z.object({ "p(95)": z.number(), max: z.number() }) }),
  }),
});

/**
 * @param summary - of `handleSummary`.
 * @param leastRequests - as many as there must have been.
 * @throws when it is no summary.
 */
export function figuresOf(summary: unknown, leastRequests = 0): Figure[] {
  const { metrics } = summaryShape.parse(summary);
  const { count, rate: perSecond } = metrics.http_reqs.values;
  const { "p(95)": p95, max } = metrics.http_req_duration.values;
  return [
    {
      what: "requests",
      unit: "",
      values: [count],
      ...(leastRequests > 0 && { target: atLeast(leastRequests) }),
    },
    { what: "requests per second", unit: "requests/s", values: [perSecond] },
    {
      what: "failed requests",
      unit: "%",
      values: [100 * metrics.http_req_failed.values.rate],
      target: below(0.1, "%"),
    },
    {
      what: "answers as they should be",
      unit: "%",
      values: [100 * metrics.checks.values.rate],
      target: atLeast(99.9, "%"),
    },
    { what: "p95", unit: "ms", values: [p95], target: below(500, "ms") },
    { what: "slowest answer", unit: "ms", values: [max] },
  ];
}
