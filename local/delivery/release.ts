/** `make release`, `make release-close`, `make rollback`: a new version gets users step by step, or loses them at once. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseDocument } from "yaml";
import { withLock } from "../lock.ts";
import { repository } from "../stack.ts";
import { message, say, UserError } from "../system.ts";
import { checksOf, requireChecks } from "./checklist.ts";
import { ask, errorsOf, fault, p95Of, requestsOf, type Sample, type Settings } from "./judge.ts";
import { migrate } from "./migration.ts";
import { targetOf, type Target } from "./target.ts";
import {
  candidateHealth,
  candidatePercent,
  remember,
  remembered,
  removeCandidate,
  runCandidate,
  send,
  settingsOf,
  shares,
  versionOf,
} from "./traffic.ts";

const judgeEverySeconds = 5;

/** Why a release ended early; by then all users are back on the version before. */
export class ReleaseAborted extends UserError {}

/** Runs `image` beside what runs, and gives it 10, 50 and 100 % of the users, each as long as nothing speaks against it. */
export async function release(target: Target, image: string, settings: Settings): Promise<void> {
  if (!/^[\w.-]+(:\d+)?(\/[\w.-]+)*(:[\w.-]+)?(@sha256:[0-9a-f]{64})?$/.test(image))
    throw new UserError(`IMAGE is "${image}" and may be an image such as registry.example.com/app@sha256:…`);
  const stable = await versionOf(target, "app");
  if (!stable) throw new UserError("The app does not run here: bring the stack up first.");
  if ((await candidatePercent(target)) > 0)
    throw new UserError(
      "A release is still open: `make release-close` after its `pulumi up`, or `make rollback`.",
    );
  if (stable.image === image) throw new UserError(`${image} is what runs already.`);
  const memory = await remembered(target);
  await remember(target, { ...memory, rejected: memory.rejected.filter((rejected) => rejected !== image) });
  const baseline = await ask(target, p95Of("app", settings.stepSeconds));
  let reached = 0;
  try {
    await migrate(target, image);
    say(`release: ${image} starts beside ${stable.image}`);
    await runCandidate(target, image);
    for (const share of shares) {
      await send(target, "app-candidate", [share]);
      reached += share;
      say(`release: ${reached} % of the users for ${settings.stepSeconds} s`);
      await step(target, settings, baseline);
    }
  } catch (error) {
    await abandon(target, image);
    throw new ReleaseAborted(
      `The release of ${image} was taken back at ${reached} % of the users: ${message(error)}`,
    );
  }
  await remember(target, { rejected: (await remembered(target)).rejected, previous: stable.image });
}

/** Watches one step; throws what speaks against the candidate. */
async function step(target: Target, settings: Settings, baseline: number | undefined): Promise<void> {
  const started = Date.now();
  const before = await counts(target);
  for (;;) {
    await sleep(judgeEverySeconds * 1000);
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

/** Users first, then the pods, whose end also ends the connections that the edge keeps to them. */
async function abandon(target: Target, image: string): Promise<void> {
  await send(target, "app");
  const memory = await remembered(target);
  await remember(target, { ...memory, rejected: [...memory.rejected, image] });
  await removeCandidate(target);
}

/** All users to the last good version, which is warm; gives its image. */
export async function rollback(target: Target): Promise<string> {
  const [percent, stable, candidate, memory] = await Promise.all([
    candidatePercent(target),
    versionOf(target, "app"),
    versionOf(target, "app-candidate"),
    remembered(target),
  ]);
  if (percent > 0 && stable && stable.ready > 0) {
    await send(target, "app");
    await remember(target, {
      ...memory,
      rejected: [...memory.rejected, ...(candidate ? [candidate.image] : [])],
    });
    await removeCandidate(target);
    return stable.image;
  }
  if (percent === 0 && candidate && candidate.ready > 0 && !memory.rejected.includes(candidate.image)) {
    await send(target, "app-candidate");
    await remember(target, { ...memory, rejected: [...memory.rejected, ...(stable ? [stable.image] : [])] });
    return candidate.image;
  }
  throw new UserError("There is no other good version that runs: nothing was changed.");
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
  await target.kubectl(["--namespace", "app", "rollout", "status", "deployment/app", "--timeout=150s"]);
  await send(target, "app");
  if (previous === undefined) await removeCandidate(target);
  else await runCandidate(target, previous);
  await remember(target, { previous, rejected });
}

/** Writes the image into the stack's file, where the file names one; comments stay. */
export async function writeImage(stack: string, image: string): Promise<boolean> {
  const path = join(repository, `Pulumi.${stack}.yaml`);
  const document = parseDocument(await readFile(path, "utf8"));
  const key = ["config", "groundwork:images", "app"];
  if (!document.hasIn(key)) return false;
  document.setIn(key, image);
  await writeFile(path, document.toString({ lineWidth: 0 }));
  return true;
}

const written = (stack: string, done: boolean): string =>
  done
    ? `Pulumi.${stack}.yaml has it`
    : `Pulumi.${stack}.yaml names no image of the app, and was left as it is`;

/** `make release IMAGE=… STACK=…`: only where the checklist holds. */
export function releaseCommand(stack: string, image: string): Promise<void> {
  return withLock("release", async () => {
    const target = await targetOf(stack);
    await requireChecks(target, image, await checksOf(target, stack), stack);
    await release(target, image, await settingsOf(target));
    say(`release: ${image} has all users; ${written(stack, await writeImage(stack, image))}.`);
    say("Next: `pulumi up` with it, then `make release-close`. Until then `make rollback` is a moment away.");
  });
}

/** `make rollback STACK=…`: never waits for a release; a running one sees that its users are gone, and ends. */
export async function rollbackCommand(stack: string): Promise<void> {
  const started = Date.now();
  const image = await rollback(await targetOf(stack));
  say(`rollback: all users are on ${image}, after ${((Date.now() - started) / 1000).toFixed(1)} s`);
  say(`${written(stack, await writeImage(stack, image))}.`);
}

/** `make release-close STACK=…` */
export async function closeCommand(stack: string): Promise<void> {
  await close(await targetOf(stack));
  say("release: closed; the version before stays warm for `make rollback`");
}
