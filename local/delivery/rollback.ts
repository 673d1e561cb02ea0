/** `make rollback`: all users go to the last good version at once. */
import { say, UserError } from "../system.ts";
import { nameImage } from "./stackImage.ts";
import { targetOf, type Target } from "./target.ts";
import {
  candidatePercent,
  remember,
  remembered,
  removeCandidate,
  runCandidate,
  sendBack,
  versionOf,
  type Memory,
  type Version,
} from "./traffic.ts";
import { inTurn } from "./turn.ts";

/** What decides where a rollback leads. */
interface Standing {
  /** Share of the users that is on the candidate's pods, %. */
  readonly percent: number;
  readonly stable: Version | undefined;
  readonly candidate: Version | undefined;
  readonly memory: Memory;
}

interface WayBack {
  readonly to: "app" | "app-candidate";
  readonly image: string;
  /** Whether it has to be started there first. */
  readonly starts?: boolean;
}

/** Where the last good version is: in the stack's own pods, warm in the candidate's, or in none, as it was before both. */
function wayBack({ percent, stable, candidate, memory: { previous, rejected } }: Standing): WayBack {
  const same = stable !== undefined && stable.image === candidate?.image;
  if (percent > 0 && stable && stable.ready > 0 && !rejected.includes(stable.image) && !same)
    return { to: "app", image: stable.image };
  if (previous !== undefined && previous !== stable?.image && !rejected.includes(previous)) {
    // Any other in the candidate's place is the new version of a release, which nobody has judged.
    if (percent < 100 && candidate?.image === previous && candidate.ready > 0)
      return { to: "app-candidate", image: previous };
    if (percent === 0 || same || !candidate) return { to: "app-candidate", image: previous, starts: true };
  }
  const pods = stable ? `${stable.ready} ready pods of ${stable.image}` : "no pods";
  throw new UserError(
    `There is no other good version that runs: nothing was changed. The stack's own Deployment has ${pods}.`,
  );
}

async function standing(target: Target): Promise<Standing> {
  const [percent, stable, candidate, memory] = await Promise.all([
    candidatePercent(target),
    versionOf(target, "app"),
    versionOf(target, "app-candidate"),
    remembered(target),
  ]);
  return { percent, stable, candidate, memory };
}

/**
 * All users to the last good version; gives its image. What they leave is remembered as rejected first, so that the command given
 * again, or after it was cut off, leads nobody back. A release that runs is taken over from, where there is a way back.
 */
export async function rollback(target: Target): Promise<string> {
  wayBack(await standing(target));
  return inTurn(target, "make rollback", goBack, true);
}

async function goBack(target: Target): Promise<string> {
  const found = await standing(target);
  const { to, image, starts } = wayBack(found);
  if (starts) {
    // Both run the release: its users wait on the stack's pods until those of the version before are ready.
    await sendBack(target, "app");
    await runCandidate(target, image);
  }
  const { stable, candidate, memory } = found;
  const left = to === "app" ? candidate : stable;
  await remember(target, { ...memory, rejected: [...memory.rejected, ...(left ? [left.image] : [])] });
  await sendBack(target, to);
  if (to === "app") await removeCandidate(target);
  return image;
}

/** `make rollback STACK=…`: never waits for a release; a running one is taken over from, and ends. */
export async function rollbackCommand(stack: string): Promise<void> {
  const started = Date.now();
  const image = await rollback(await targetOf(stack));
  say(`rollback: all users are on ${image}, after ${((Date.now() - started) / 1000).toFixed(1)} s`);
  say(`${await nameImage(stack, image)}.`);
}
