/** Releases of a good version and of bad ones, and the way back, while people use the service. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { confirmHealth } from "../../local/delivery/emergency.ts";
import { release } from "../../local/delivery/release.ts";
import { rollback } from "../../local/delivery/rollback.ts";
import { clusterTarget, type Target } from "../../local/delivery/target.ts";
import {
  candidatePercent,
  removeCandidate,
  runCandidate,
  send,
  versionOf,
} from "../../local/delivery/traffic.ts";
import { timesAskedFor } from "../../local/tests.ts";
import { environment, waitFor } from "../cluster/support.ts";
import { recorded, type Counted } from "./report.ts";
import { duringUse, sentAgain, type Served } from "./users.ts";
import { makeVersions, removeVersions, type VersionName } from "./versions.ts";

const times = timesAskedFor();
const rollbackLimitSeconds = 30;
/** For five seconds (`keepalive_time`) the edge may go on with a connection that it had; one for the request's own way. */
const keptMilliseconds = 6000;
type BadVersion = "errors" | "slow" | "crashing";
/** As the stack's, but short, and with room for a machine that does other things, too. */
const settings = {
  stepSeconds: 40,
  // A tenth of sixty users may be two or three.
  minimumRequests: 20,
  maximumErrorRatio: 0.001,
  maximumP95Milliseconds: 1000,
  slowerThanStable: 10,
};

describe("a release under load", () => {
  let target: Target;
  let stable: string;
  let versions: Record<VersionName, string>;
  beforeAll(async () => {
    target = await clusterTarget({
      kubeconfig: environment("KUBECONFIG"),
      context: environment("KUBE_CONTEXT"),
    });
    stable = (await versionOf(target, "app"))?.image ?? "";
    versions = await makeVersions(stable);
  }, 120_000);
  afterAll(async () => {
    await send(target, "app");
    await removeCandidate(target);
    await removeVersions();
  }, 120_000);

  test.each([
    ["errors", /requests failed/],
    ["slow", /95th percentile/],
    // Whichever is seen first: that it ends, or how long the edge then tries.
    ["crashing", /containers ended|not ready|95th percentile/],
  ] as const)("%s: users are back on the version before by themselves", (name, reason) =>
    recorded(`bad-release: ${name}`, async (note) => {
      for (let run = 1; run <= times; run += 1) note(await badRelease(name, reason));
    }),
  );

  test("good: all users get it, each stays with one version at every step, and no request fails", () =>
    recorded("bad-release: rollback", async (note) => {
      const seconds: number[] = [];
      let allOnGood = 0;
      const served = await duringUse(async (soFar) => {
        await sleep(5000);
        await release(target, versions.good, settings);
        expect(await candidatePercent(target)).toBe(100);
        allOnGood = Date.now();
        for (let run = 1; run <= times; run += 1) {
          if (run > 1) {
            await runCandidate(target, versions.good);
            await send(target, "app-candidate");
            await sleep(8000);
          }
          seconds.push(await timedRollback(target, soFar));
        }
      });
      const failed = served.filter(({ status }) => status !== 200);
      console.log(
        `good: ${served.length} requests, ${sentAgain(served)} sent again, ${failed.length} failed; rollback ${seconds.map((s) => s.toFixed(1)).join(", ")} s`,
      );
      expect(failed).toEqual([]);
      for (const second of seconds) expect(second).toBeLessThanOrEqual(rollbackLimitSeconds);
      expect(returns(served.filter(({ at }) => at < allOnGood))).toBe(0);
      // The requests are those of all rollbacks together.
      for (const [index, recoverySeconds] of seconds.entries())
        note({ acknowledged: index === 0 ? served.length : 0, failed: 0, recoverySeconds, passed: true });
    }));

  /** A release that ends by itself for this reason; from the first to the last request that it answered, seconds. */
  async function badRelease(name: BadVersion, reason: RegExp): Promise<Counted> {
    let ended = 0;
    const served = await duringUse(async () => {
      await sleep(5000);
      await expect(release(target, versions[name], settings)).rejects.toThrow(reason);
      ended = Date.now();
      await sleep(8000);
    });
    const bad = served.filter(({ version }) => version === name);
    expect(bad.length).toBeGreaterThan(0);
    expect(await candidatePercent(target)).toBe(0);
    expect(served.filter(({ at, version }) => at > ended && version === name)).toEqual([]);
    // A tenth of the users by intent; of sixty that are shared out by chance, it may be more.
    expect(new Set(bad.map(({ user }) => user)).size).toBeLessThan(60 * 0.3);
    expect(served.filter(({ at, status }) => at > ended && status !== 200)).toEqual([]);
    const failed = served.filter(({ status }) => status !== 200).length;
    const recoverySeconds = (lastOf(bad) - firstOf(bad)) / 1000;
    console.log(
      `${name}: answered for ${recoverySeconds.toFixed(1)} s; ${failed} of ${served.length} requests failed, ${sentAgain(served)} were sent again, ${bad.length} went to it`,
    );
    return { acknowledged: served.length - failed, failed, recoverySeconds, passed: true };
  }

  /** From the command until the last request that the version before it did not answer. */
  async function timedRollback(of: Target, served: readonly Served[]): Promise<number> {
    const started = Date.now();
    expect(await rollback(of)).toBe(stable);
    await waitFor("all users on the version before", rollbackLimitSeconds, () => {
      expect(served.filter(({ at, version }) => at > Date.now() - 4000 && version === "good")).toEqual([]);
    });
    // As the third emergency level does next.
    await confirmHealth(of);
    const last = served.filter(({ at, version }) => at >= started && version === "good").at(-1);
    return ((last?.at ?? started) - started) / 1000;
  }
});

const firstOf = (served: readonly Served[]): number => Math.min(...served.map(({ at }) => at));
const lastOf = (served: readonly Served[]): number => Math.max(...served.map(({ at }) => at));

/** How often a user was answered by the version before although the edge keeps no connection to it any more. */
function returns(served: readonly Served[]): number {
  const since = new Map<number, number>();
  let count = 0;
  for (const { at, user, version } of served) {
    if (version !== "good") count += at > (since.get(user) ?? at) + keptMilliseconds ? 1 : 0;
    else if (!since.has(user)) since.set(user, at);
  }
  return count;
}
