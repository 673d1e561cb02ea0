/** The cluster that a command about releases works on: this machine's for dev, the configured one for any other stack. */
import { homedir } from "node:os";
import { join } from "node:path";
import { currentCluster, kubectlProgram } from "../cluster.ts";
import { committedContext, requireStack } from "../stack.ts";
import { run, UserError } from "../system.ts";

/** kubectl against one cluster. */
export interface Target {
  readonly kubectl: (args: readonly string[], input?: string) => Promise<string>;
}

/** @throws {UserError} when the stack is unknown, or names no context. */
export async function targetOf(stack: string): Promise<Target> {
  await requireStack(stack);
  return clusterTarget(await placeOf(stack));
}

/** A target by kubeconfig and context. */
export async function clusterTarget(place: {
  readonly kubeconfig: string;
  readonly context: string;
}): Promise<Target> {
  const program = await kubectlProgram();
  const { kubeconfig, context } = place;
  return {
    kubectl: (args, input) =>
      run(program, ["--kubeconfig", kubeconfig, "--context", context, ...args], {
        env: process.env,
        ...(input !== undefined && { input }),
      }),
  };
}

async function placeOf(stack: string): Promise<{ kubeconfig: string; context: string }> {
  const context = await committedContext(stack);
  if (stack === "dev") return currentCluster();
  if (context === "")
    throw new UserError(
      `Pulumi.${stack}.yaml names no groundwork:cluster.context, so there is no cluster to work on.`,
    );
  return { kubeconfig: process.env["KUBECONFIG"] ?? join(homedir(), ".kube", "config"), context };
}
