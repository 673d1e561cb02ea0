/** Logs of the stack's pods, and its web interfaces on this machine. */
import { spawn } from "node:child_process";
import { currentCluster, kubectl, kubectlProgram, type Cluster } from "./cluster.ts";
import { requireFreePort } from "./node/network.ts";
import { message, say, UserError } from "./system.ts";

/**
 * Prints the latest log lines of every pod, or of one workload's; exit status 1 when some could not be had.
 * @throws {UserError} when there is no such pod.
 */
export async function showLogs(workload = ""): Promise<number> {
  const cluster = await currentCluster();
  let [lines, status] = ["", 0];
  const selector =
    workload === "" ? "app.kubernetes.io/part-of=groundwork" : `app.kubernetes.io/name=${workload}`;
  for (const namespace of ["edge", "app", "data", "monitoring", "node-agents"]) {
    const args = [
      "logs",
      "--namespace",
      namespace,
      "--selector",
      selector,
      "--all-containers",
      "--prefix",
      "--tail=20",
      // A container that has not started has no log, and the others' are what is looked for.
      "--ignore-errors",
    ];
    try {
      const some = await kubectl(cluster, args);
      process.stdout.write(some);
      lines += some;
    } catch (error) {
      say(`${namespace}: ${message(error)}`);
      status = 1;
    }
  }
  if (lines === "" && status === 0) await requirePods(cluster, workload);
  return status;
}

async function requirePods(cluster: Cluster, workload: string): Promise<void> {
  const path = "{.items[*].metadata.labels.app\\.kubernetes\\.io/name}";
  const pods = ["get", "pods", "--all-namespaces", "--selector", "app.kubernetes.io/part-of=groundwork"];
  const names = (await kubectl(cluster, [...pods, `--output=jsonpath=${path}`])).split(" ").filter(Boolean);
  if (names.length === 0)
    throw new UserError("No pod of the dev stack is there. `make up` brings the stack up.");
  if (workload !== "" && !names.includes(workload))
    throw new UserError(
      `APP is "${workload}" and may be ${[...new Set(names)].sort().join(", ")}, or none for all.`,
    );
}

const interfaces = [
  { service: "grafana", port: 3000 },
  { service: "prometheus", port: 9090 },
  { service: "alertmanager", port: 9093 },
  { service: "jaeger", port: 16686 },
] as const;

/**
 * Forwards the web interfaces until the person stops it; exit status 1 when they end otherwise.
 * @throws {UserError} where there is none, or something else has its port.
 */
export async function forward(): Promise<number> {
  const cluster = await currentCluster();
  const program = await kubectlProgram();
  const services = await kubectl(cluster, [
    "get",
    "services",
    "--namespace",
    "monitoring",
    "--output",
    "name",
  ]);
  const there = interfaces.filter(({ service }) => services.includes(`service/${service}\n`));
  if (there.length === 0)
    throw new UserError("No web interface of the dev stack is there. `make up` brings the stack up.");
  for (const { service, port } of there) await requireFreePort(service, "127.0.0.1", port);
  const credentials = services.includes("service/grafana\n") ? await grafanaCredentials(cluster) : "";
  const children = there.map(({ service, port }) => {
    const args = ["port-forward", "--namespace", "monitoring", `service/${service}`, `${port}:${port}`];
    say(`${service}: http://localhost:${port}${service === "grafana" ? credentials : ""}`);
    const child = spawn(
      program,
      ["--kubeconfig", cluster.kubeconfig, "--context", cluster.context, ...args],
      {
        stdio: ["ignore", "ignore", "inherit"],
      },
    );
    return new Promise<number>((resolve) =>
      child.on("close", (code) => {
        resolve(code ?? 1);
      }),
    );
  });
  return Math.max(...(await Promise.all(children)));
}

async function grafanaCredentials(cluster: Cluster): Promise<string> {
  const args = ["get", "secret", "grafana-secrets", "--namespace", "monitoring"];
  const encoded = await kubectl(cluster, [...args, "--output", "jsonpath={.data.admin-password}"]);
  return ` (user admin, password ${Buffer.from(encoded, "base64").toString()})`;
}
