/** Work that a release must not meet: it would pass by the pods of `app-candidate`, or take them away. */
import { operatedCluster, type Cluster } from "../cluster.ts";
import { withLock } from "../lock.ts";
import { requireStack, stackVariables } from "../stack.ts";
import { UserError } from "../system.ts";
import { clusterTarget } from "./target.ts";
import { candidatePercent } from "./traffic.ts";

/**
 * Holds the locks of the stack and of releases, so that none begins from here meanwhile.
 * @throws {UserError} before any work, when users are on a release that is not closed, or where a rollback led them.
 */
export async function withoutRelease<T>(stack: string, work: (cluster: Cluster) => Promise<T>): Promise<T> {
  await requireStack(stack);
  return withLock("release", () =>
    withLock("stack", async () => {
      const cluster = await operatedCluster(stack);
      const percent = await candidatePercent(await clusterTarget(cluster));
      if (percent === 0) return work(cluster);
      const variables = stackVariables(stack);
      throw new UserError(
        `A release is open: ${percent} % of the users are on app-candidate. Bring the stack to that version and ` +
          `\`make release-close${variables}\`, or \`make rollback${variables}\`; then run the same command again. Nothing was changed.`,
      );
    }),
  );
}
