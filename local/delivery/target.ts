/** The cluster that a command about releases works on: this machine's for dev, the configured one for any other stack. */
import { kubectlProgram, operatedCluster } from "../cluster.ts";
import { requireStack } from "../stack.ts";
import { run } from "../system.ts";

/** kubectl against one cluster. */
export interface Target {
  readonly kubectl: (args: readonly string[], input?: string, signal?: AbortSignal) => Promise<string>;
}

/** @throws {UserError} when the stack is unknown, or names no context. */
export async function targetOf(stack: string): Promise<Target> {
  await requireStack(stack);
  return clusterTarget(await operatedCluster(stack));
}

/** A target by kubeconfig and context. */
export async function clusterTarget(place: {
  readonly kubeconfig: string;
  readonly context: string;
}): Promise<Target> {
  const program = await kubectlProgram();
  const { kubeconfig, context } = place;
  return {
    kubectl: (args, input, signal) =>
      run(program, ["--kubeconfig", kubeconfig, "--context", context, ...args], {
        env: process.env,
        signal,
        ...(input !== undefined && { input }),
      }),
  };
}
