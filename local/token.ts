/** Tokens of the dev stack, for trying things out and for measuring. */
import { currentCluster, kubectl } from "./cluster.ts";
import { lastLines, message, UserError } from "./system.ts";

/**
 * Signed in the app's own pod, which does so in development only.
 * @throws {UserError} when there is no such pod, or no kubectl to ask it by.
 */
export async function developmentToken(role: string, tenant: string): Promise<string> {
  const program = ["node", "/app/dist/cli/token.js", "--role", role, "--tenant", tenant];
  const command = ["exec", "--namespace", "app", "deploy/app", "--", ...program];
  const text = await kubectl(await currentCluster(), command).catch((error: unknown) => {
    if (error instanceof UserError) throw error;
    throw new UserError(
      `The app of the dev stack gives no token; \`make up\` brings the stack up: ${lastLines(message(error), 1)}`,
    );
  });
  return text.trim();
}
