/** One step of a release: the candidate is looked at while it has some of the users. */
import { setTimeout as sleep } from "node:timers/promises";
import { say } from "../system.ts";
import { ask, errorsOf, fault, p95Of, requestsOf, type Sample, type Settings } from "./judge.ts";
import type { Target } from "./target.ts";
import { candidateHealth } from "./traffic.ts";

const judgeEverySeconds = 5;

/** Returns when the step is over; throws what speaks against the candidate, as soon as it is seen, or when `signal` is aborted. */
export async function watchStep(
  target: Target,
  settings: Settings,
  baseline: number | undefined,
  signal: AbortSignal,
): Promise<void> {
  const started = Date.now();
  const before = await counts(target);
  for (;;) {
    await sleep(judgeEverySeconds * 1000, undefined, { signal });
    const seconds = (Date.now() - started) / 1000;
    const over = seconds >= settings.stepSeconds;
    const sample = await observe(target, before, seconds, baseline);
    const reason = fault(sample, settings, over);
    if (reason !== undefined) throw new Error(reason);
    if (!over) continue;
    say(
      `release: ${sample.requests ?? 0} requests, ${sample.errors} failed, p95 ${Math.round((sample.p95 ?? 0) * 1000)} ms`,
    );
    return;
  }
}

async function counts(target: Target): Promise<{ requests: number | undefined; errors: number }> {
  const [requests, errors] = await Promise.all([
    ask(target, requestsOf("app-candidate")),
    ask(target, errorsOf("app-candidate")),
  ]);
  return { requests, errors: errors ?? 0 };
}

async function observe(
  target: Target,
  before: { requests: number | undefined; errors: number },
  seconds: number,
  baseline: number | undefined,
): Promise<Sample> {
  const [now, p95, stableP95, health] = await Promise.all([
    counts(target),
    ask(target, p95Of("app-candidate", seconds)),
    ask(target, p95Of("app", seconds)),
    candidateHealth(target),
  ]);
  return {
    requests: now.requests === undefined ? undefined : now.requests - (before.requests ?? 0),
    errors: now.errors - before.errors,
    p95,
    // At 100 % the version before has no requests of its own any more.
    stableP95: stableP95 ?? baseline,
    ...health,
  };
}
