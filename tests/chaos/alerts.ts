import { expect } from "vitest";
import { z } from "zod";
import { ask, waitFor } from "../cluster/support.ts";

/** Pending or firing: how long it must hold before somebody is told is the rules' own tests' matter. */
export async function raised(alert: string, isRaised: boolean): Promise<void> {
  const query = encodeURIComponent(`ALERTS{alertname="${alert}"}`);
  await waitFor(`the alert ${alert}${isRaised ? "" : " gone"}`, 180, async () => {
    const answer = await ask("prometheus", `/api/v1/query?query=${query}`);
    const { data } = z.object({ data: z.object({ result: z.array(z.unknown()) }) }).parse(answer);
    expect(data.result.length > 0).toBe(isRaised);
  });
}
