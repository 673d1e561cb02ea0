/** One look at every workload of the stack. */
import { AppsV1Api, BatchV1Api, CoreV1Api, KubeConfig, type V1Pod } from "@kubernetes/client-node";
import { message, UserError } from "./system.ts";

const namespaces = ["edge", "app", "data", "monitoring", "node-agents"];

/** One workload, as the person sees it. */
export interface Row {
  readonly namespace: string;
  readonly workload: string;
  readonly ready: string;
  readonly state: string;
  readonly healthy: boolean;
}

/** Every workload of the stack's namespaces. @throws {UserError} when the cluster does not answer */
export async function readStatus(kubeconfig: string, context: string): Promise<Row[]> {
  const cluster = new KubeConfig();
  cluster.loadFromFile(kubeconfig);
  cluster.setCurrentContext(context);
  try {
    return (await Promise.all(namespaces.map((namespace) => rowsOf(cluster, namespace)))).flat();
  } catch (error) {
    // What fetch says of a connection that it did not get; an answer that is a refusal is another error.
    if (!(error instanceof TypeError)) throw error;
    const reason = error.cause === undefined ? error.message : message(error.cause);
    throw new UserError(`The cluster ${context} does not answer: ${reason}. \`make up\` starts it.`);
  }
}

/** Prints the table; whether everything is healthy. */
export async function showStatus(kubeconfig: string, context: string): Promise<boolean> {
  const rows = await readStatus(kubeconfig, context);
  if (rows.length === 0) {
    process.stdout.write("No workload runs. `make up` brings the stack up.\n");
    return false;
  }
  process.stdout.write(statusTable(rows, usesColor(process.env, process.stdout.isTTY)));
  return rows.every(({ healthy }) => healthy);
}

/** Colour is for terminals that show it to a person who has not declined it (https://no-color.org). */
export function usesColor(env: NodeJS.ProcessEnv, isTerminal: boolean): boolean {
  return isTerminal && (env["NO_COLOR"] ?? "") === "" && env["TERM"] !== "dumb";
}

/** The table, a line for each workload; without colour, `ok` and `!!` say the same. */
export function statusTable(rows: readonly Row[], color: boolean): string {
  const cells = rows.map(({ namespace, workload, ready, state, healthy }) => [
    healthy ? "ok" : "!!",
    namespace,
    workload,
    ready,
    state,
  ]);
  const header = ["", "NAMESPACE", "WORKLOAD", "READY", "STATE"];
  const widths = header.map((title, column) =>
    Math.max(title.length, ...cells.map((row) => row[column]?.length ?? 0)),
  );
  return [header, ...cells]
    .map((row) => {
      const line = row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd();
      return color && row[0] !== "" ? `\u001b[${row[0] === "ok" ? 32 : 31}m${line}\u001b[0m\n` : `${line}\n`;
    })
    .join("");
}

async function rowsOf(cluster: KubeConfig, namespace: string): Promise<Row[]> {
  const apps = cluster.makeApiClient(AppsV1Api);
  const [deployments, statefulSets, daemonSets, cronJobs, pods] = await Promise.all([
    apps.listNamespacedDeployment({ namespace }),
    apps.listNamespacedStatefulSet({ namespace }),
    apps.listNamespacedDaemonSet({ namespace }),
    cluster.makeApiClient(BatchV1Api).listNamespacedCronJob({ namespace }),
    cluster.makeApiClient(CoreV1Api).listNamespacedPod({ namespace }),
  ]);
  const replicated = [...deployments.items, ...statefulSets.items].map(({ metadata, spec, status }) => ({
    workload: metadata?.name ?? "",
    wanted: spec?.replicas ?? 1,
    ready: status?.readyReplicas ?? 0,
  }));
  // One on each node that it is for; none of them counted yet is no health.
  const onNodes = daemonSets.items.map(({ metadata, status }) => ({
    workload: metadata?.name ?? "",
    wanted: status?.desiredNumberScheduled || 1,
    ready: status?.numberReady ?? 0,
  }));
  const running = [...replicated, ...onNodes].map(({ workload, wanted, ready }): Row => {
    const own = pods.items.filter((pod) => pod.metadata?.labels?.["app.kubernetes.io/name"] === workload);
    return {
      namespace,
      workload,
      ready: `${ready}/${wanted}`,
      state: own.map(stateOf).find(Boolean) ?? "running",
      healthy: ready >= wanted,
    };
  });
  const scheduled = cronJobs.items.map((item): Row => {
    const last = item.status?.lastSuccessfulTime;
    const state =
      last === undefined ? `${item.spec.schedule}, not yet run` : `last success ${last.toISOString()}`;
    return { namespace, workload: item.metadata?.name ?? "", ready: "cron", state, healthy: true };
  });
  return [...running, ...scheduled];
}

/** What keeps a pod from being ready, or how often it restarted; undefined when there is nothing to say. */
function stateOf(pod: V1Pod): string | undefined {
  for (const status of pod.status?.containerStatuses ?? []) {
    const waiting = status.state?.waiting;
    if (waiting?.reason !== undefined) return `${waiting.reason}: ${waiting.message ?? status.name}`;
    if (!status.ready) return `${status.name} is not ready`;
    if (status.restartCount > 0) return `running, restarted ${status.restartCount}×`;
  }
  return pod.status?.phase === "Pending" ? "pending" : undefined;
}
