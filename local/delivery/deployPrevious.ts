/** `make deploy-previous STACK=…`: the way back for a workflow whose `make smoke` fails after its `make deploy`. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { repository } from "../stack.ts";
import { message, run, say, UserError } from "../system.ts";
import { runVisibly } from "./checks.ts";
import { pulumiProgram } from "./deploy.ts";
import { withWorkloadIdentity } from "./workloadIdentity.ts";

/** One entry of `pulumi stack history --json`. */
const update = z.object({
  /** `update` for an `up`. */
  kind: z.string(),
  result: z.string(),
  environment: z.record(z.string(), z.string()).optional(),
});

/** Runs `make deploy` of the commit that was deployed before this one, in a clone of `directory`; gives its exit status. */
export function deployPrevious(stack: string, directory = repository): Promise<number> {
  return withWorkloadIdentity((env) => goBack(stack, directory, env));
}

async function goBack(stack: string, directory: string, env: NodeJS.ProcessEnv): Promise<number> {
  const git = (...args: string[]): Promise<string> => run("git", args, { cwd: directory });
  const history = ["stack", "history", "--json", "--page-size=100", "--stack", stack];
  const updates = await run(await pulumiProgram(stack), history, { cwd: directory, env }).catch(
    (error: unknown) => {
      throw new UserError(`The history of ${stack} cannot be read at PULUMI_BACKEND_URL: ${message(error)}`);
    },
  );
  const head = (await git("rev-parse", "HEAD")).trim();
  const commit = commitBefore(z.array(update).parse(JSON.parse(updates)), head);
  await git("cat-file", "-e", `${commit}^{commit}`).catch(() => {
    throw new UserError(
      `${commit} was deployed before, and this checkout does not have it: fetch all of its history.`,
    );
  });
  say(`${stack} goes back to ${commit}`);
  const clone = await mkdtemp(join(tmpdir(), "groundwork-previous-"));
  try {
    await git("clone", "--quiet", "--no-checkout", directory, clone);
    await git("-C", clone, "checkout", "--quiet", "--detach", commit);
    return await runVisibly("make", ["--directory", clone, "deploy", `STACK=${stack}`]);
  } finally {
    await rm(clone, { recursive: true, force: true });
  }
}

/**
 * The commit of the last `up` that succeeded before those of `head`, from a history with the newest first.
 * @throws {UserError} when there is none, when `head` was not deployed last, or ran well before and so is not to blame.
 */
function commitBefore(history: readonly z.infer<typeof update>[], head: string): string {
  const ups = history
    .filter(({ kind }) => kind === "update")
    .map(({ result, environment }) => ({ good: result === "succeeded", commit: environment?.["git.head"] }));
  const since = ups.findIndex(({ commit }) => commit !== head);
  const own = since < 0 ? ups : ups.slice(0, since);
  if (own.length === 0) throw new UserError(`${head} is not what was deployed last: nothing was changed.`);
  if (own.filter(({ good }) => good).length > 1)
    throw new UserError(`${head} is what ran before, too: nothing was changed.`);
  const commit = ups.slice(own.length).find(({ good, commit: before }) => good && before)?.commit;
  if (commit === undefined) throw new UserError(`Nothing was deployed before ${head}: nothing was changed.`);
  return commit;
}
