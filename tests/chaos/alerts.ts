import { expect } from "vitest";
import { z } from "zod";
import { ask, waitFor } from "../cluster/support.ts";

const answerShape = z.object({ data: z.object({ result: z.array(z.unknown()) }) });

/** Waits until Prometheus answers the query by something, or by nothing. */
export async function answered(query: string, bySomething: boolean, what: string): Promise<void> {
  await waitFor(what, 180, async () => {
    const answer = await ask("prometheus", `/api/v1/query?query=${encodeURIComponent(query)}`);
    expect(answerShape.parse(answer).data.result.length > 0).toBe(bySomething);
  });
}

/** Pending or firing: how long it must hold before somebody is told is the rules' own tests' matter. */
export async function raised(alert: string, isRaised: boolean): Promise<void> {
  await answered(`ALERTS{alertname="${alert}"}`, isRaised, `the alert ${alert}${isRaised ? "" : " gone"}`);
}
