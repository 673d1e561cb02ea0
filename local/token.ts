/** Tokens of the dev stack, for trying things out and for measuring. */
import { currentCluster, kubectl } from "./cluster.ts";

/** Signed in the app's own pod, which does so in development only. */
export async function developmentToken(role: string, tenant: string): Promise<string> {
  const program = ["node", "/app/dist/cli/token.js", "--role", role, "--tenant", tenant];
  const text = await kubectl(await currentCluster(), [
    "exec",
    "--namespace",
    "app",
    "deploy/app",
    "--",
    ...program,
  ]);
  return text.trim();
}
