/** Logs of the stack's pods, and its web interfaces on this machine. */
import { spawn } from "node:child_process";
import { currentCluster, kubectl, kubectlProgram, type Cluster } from "./cluster.ts";
import { message, say } from "./system.ts";

/** Prints the latest log lines of every pod, or of one workload's; exit status 1 when some could not be had. */
export async function showLogs(workload = ""): Promise<number> {
  const cluster = await currentCluster();
  let status = 0;
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
      process.stdout.write(await kubectl(cluster, args));
    } catch (error) {
      say(`${namespace}: ${message(error)}`);
      status = 1;
    }
  }
  return status;
}

const interfaces = [
  { service: "grafana", port: 3000 },
  { service: "prometheus", port: 9090 },
  { service: "alertmanager", port: 9093 },
  { service: "jaeger", port: 16686 },
] as const;

/** Forwards the web interfaces until the person stops it. */
export async function forward(): Promise<void> {
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
  const credentials = services.includes("service/grafana\n") ? await grafanaCredentials(cluster) : "";
  const children = interfaces
    .filter(({ service }) => services.includes(`service/${service}\n`))
    .map(({ service, port }) => {
      const args = ["port-forward", "--namespace", "monitoring", `service/${service}`, `${port}:${port}`];
      say(`${service}: http://localhost:${port}${service === "grafana" ? credentials : ""}`);
      const child = spawn(
        program,
        ["--kubeconfig", cluster.kubeconfig, "--context", cluster.context, ...args],
        {
          stdio: ["ignore", "ignore", "inherit"],
        },
      );
      return new Promise((resolve) => child.on("close", resolve));
    });
  await Promise.all(children);
}

async function grafanaCredentials(cluster: Cluster): Promise<string> {
  const args = ["get", "secret", "grafana-secrets", "--namespace", "monitoring"];
  const encoded = await kubectl(cluster, [...args, "--output", "jsonpath={.data.admin-password}"]);
  return ` (user admin, password ${Buffer.from(encoded, "base64").toString()})`;
}
