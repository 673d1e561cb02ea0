/** `make release`, `make release-close`: a new version gets users step by step, and then those of the stack's own pods. */
import { insist } from "../interruptible.ts";
import { withLock } from "../lock.ts";
import { message, say, UserError } from "../system.ts";
import { checksOf, requireChecks } from "./checklist.ts";
import { ask, p95Of, type Settings } from "./judge.ts";
import { migrate, migrationOf, removeMigration } from "./migration.ts";
import { requireReleasable } from "./releasable.ts";
import { nameImage } from "./stackImage.ts";
import { targetOf, type Target } from "./target.ts";
import {
  candidatePercent,
  remember,
  remembered,
  removeCandidate,
  runCandidate,
  send,
  sendBack,
  settingsOf,
  shares,
  strengthen,
  versionOf,
  type Memory,
} from "./traffic.ts";
import { inTurn, TakenOver } from "./turn.ts";
import { watchStep } from "./watch.ts";

/** Why a release ended early; by then all users are back on the version before. */
export class ReleaseAborted extends UserError {}

/** Runs `image` beside what runs, and gives it 10, 50 and 100 % of the users, each as long as nothing speaks against it. */
export async function release(target: Target, image: string, settings: Settings): Promise<void> {
  const stable = await versionOf(target, "app");
  if (!stable) throw new UserError("The app does not run here: bring the stack up first.");
  if ((await candidatePercent(target)) > 0)
    throw new UserError(
      "A release is still open: `make release-close` after its `pulumi up`, or `make rollback`.",
    );
  if (stable.image === image) throw new UserError(`${image} is what runs already.`);
  const migration = await migrationOf(target);
  await inTurn(target, `make release IMAGE=${image}`, async (watched, own, signal) => {
    const { previous, ...memory } = await remembered(watched);
    // What was rejected once is not any more when users run it, or are to.
    const rejected = memory.rejected.filter((one) => one !== image && one !== stable.image);
    await remember(watched, { previous, rejected });
    const baseline = await ask(watched, p95Of("app", settings.stepSeconds));
    let reached = 0;
    try {
      if (migration) await migrate(watched, image, migration);
      say(`release: ${image} starts beside ${stable.image}`);
      await runCandidate(watched, image);
      // Before its first users: whatever becomes of this run, a rollback knows where they came from.
      await remember(watched, { previous: stable.image, rejected });
      for (const share of shares) {
        await strengthen(watched, "app-candidate", 150);
        // Also where the answer is lost, they may have been sent.
        reached += share;
        await send(watched, "app-candidate", [share]);
        say(`release: ${reached} % of the users for ${settings.stepSeconds} s`);
        await watchStep(watched, settings, baseline, signal);
      }
    } catch (error) {
      const reason = message(signal.aborted ? signal.reason : error);
      return await takeBack(own, image, reached, reason, { previous, rejected });
    }
  });
}

/** Users first, then the pods, whose end also ends the connections that the edge keeps to them. Always throws. */
async function takeBack(
  target: Target,
  image: string,
  reached: number,
  reason: string,
  memory: Memory,
): Promise<never> {
  try {
    if (reached > 0) await insistInTurn(() => sendBack(target, "app"));
  } catch (error) {
    if (error instanceof TakenOver) throw error;
    throw new UserError(
      `The release of ${image} ended: ${reason}\nIt could not be taken back: ${message(error)}\n` +
        `${reached} % of the users are still on ${image}: make rollback`,
    );
  }
  const taken = `The release of ${image} was taken back at ${reached} % of the users: ${reason}`;
  try {
    await insistInTurn(() => abandon(target, image, memory));
  } catch (error) {
    if (error instanceof TakenOver) throw error;
    throw new ReleaseAborted(
      `${taken}\nIts pods could not be removed: ${message(error)}\n` +
        "Nobody is on them: kubectl --namespace app delete deployment app-candidate",
    );
  }
  throw new ReleaseAborted(taken);
}

/** Tries until it is done, or a rollback took over, which no further try changes. */
async function insistInTurn(action: () => Promise<void>): Promise<void> {
  const taken = await insist(() =>
    action().catch((error: unknown) => {
      if (error instanceof TakenOver) return error;
      throw error;
    }),
  );
  if (taken) throw taken;
}

/** `memory` is that from before the release. Its migration may still run, where it was interrupted. */
async function abandon(target: Target, image: string, memory: Memory): Promise<void> {
  await remember(target, { ...memory, rejected: [...memory.rejected, image] });
  await removeMigration(target);
  // A release that ended before its own pods were made leaves the warm version.
  if ((await versionOf(target, "app-candidate"))?.image === image) await removeCandidate(target);
}

/** After the `pulumi up` with the new image: users move to the stack's own pods, and the version before becomes the warm one. */
export async function close(target: Target): Promise<void> {
  const [percent, stable, candidate, { previous, rejected }] = await Promise.all([
    candidatePercent(target),
    versionOf(target, "app"),
    versionOf(target, "app-candidate"),
    remembered(target),
  ]);
  if (percent < 100 || !candidate) throw new UserError("No release is open at 100 % of the users.");
  if (stable?.image !== candidate.image)
    throw new UserError(
      `The stack runs ${stable?.image ?? "nothing"} and the release is ${candidate.image}: run \`pulumi up\` with it first.`,
    );
  await inTurn(target, "make release-close", async (watched) => {
    await watched.kubectl(["--namespace", "app", "rollout", "status", "deployment/app", "--timeout=150s"]);
    await strengthen(watched, "app", 150);
    await send(watched, "app");
    if (previous === undefined) await removeCandidate(watched);
    else await runCandidate(watched, previous);
    await remember(watched, { previous, rejected });
  });
}

/** `make release IMAGE=… STACK=…`: only where the checklist holds. */
export function releaseCommand(stack: string, image: string): Promise<void> {
  return withLock("release", async () => {
    await requireReleasable(stack, image);
    const target = await targetOf(stack);
    await requireChecks(target, image, await checksOf(target, stack), stack);
    await release(target, image, await settingsOf(target));
    say(`release: ${image} has all users; ${await nameImage(stack, image)}.`);
    say("Next: `pulumi up` with it, then `make release-close`. Until then `make rollback` is a moment away.");
  });
}

/** `make release-close STACK=…` */
export async function closeCommand(stack: string): Promise<void> {
  await close(await targetOf(stack));
  say("release: closed; the version before stays warm for `make rollback`");
}
