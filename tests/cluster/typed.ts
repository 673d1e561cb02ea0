/** Commands of the documents, typed as they stand there. */
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "vitest";
import { repository } from "../../local/stack.ts";
import { ask, kubectl } from "./support.ts";

/** The `sh` blocks of a page, or of one of its sections, in order. */
export function blocksOf(page: string, section?: string): string[] {
  const text = readFileSync(join(repository, page), "utf8");
  const part = section === undefined ? text : (text.split(`\n## ${section}\n`)[1]?.split("\n## ")[0] ?? "");
  return [...part.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, block = ""]) => block);
}

/** What the pages have a person's shell evaluate first. */
const { stdout: settings } = await promisify(execFile)("make", ["-s", "env"], { cwd: repository });

/** What a person's shell prints; it stops at the first command that fails, as it does with none of `statuses`. */
export async function typed(lines: readonly string[], statuses: readonly number[] = [0]): Promise<string> {
  const script = [settings, "shopt -s expand_aliases", "set -euo pipefail", ...lines].join("\n");
  // A line at a time, as an alias is known only from the next one on.
  const running = promisify(execFile)("bash", ["-s"], { cwd: repository });
  running.child.stdin?.end(script);
  const { stdout } = await running.catch((error: unknown) => {
    const { code, stdout } = error as { code?: unknown; stdout: string };
    if (typeof code === "number" && statuses.includes(code)) return { stdout };
    throw error;
  });
  return stdout;
}

/** Runbooks of the alerts that these files of rules have. */
export function runbooksOf(belongs: (file: string) => boolean): string[] {
  const folder = join(repository, "k8s-manifests", "prometheus", "rules");
  const texts = readdirSync(folder)
    .filter(belongs)
    .map((file) => readFileSync(join(folder, file), "utf8"));
  return [
    ...new Set(texts.flatMap((text) => [...text.matchAll(/alert: (\w+)/g)].map(([, name = ""]) => name))),
  ];
}

/** What a runbook leaves to its reader, as a stack in which nothing is wrong has it. */
async function filled(line: string): Promise<string> {
  const got = (path: string, ...what: readonly string[]): Promise<string> =>
    kubectl("get", ...what, `--output=jsonpath=${path}`);
  const edge = new URL(process.env["EDGE_URL"] ?? "");
  const named = line.replaceAll("<namespace>", "data");
  const [, namespace = "data"] = /^kubectl -n (\S+)/.exec(named) ?? [];
  const own = `--namespace=${namespace}`;
  const pod = async (): Promise<string> =>
    namespace === "data" ? "postgres-0" : got("{.items[0].metadata.name}", "pods", own);
  const parts: readonly (readonly [RegExp, () => string | Promise<string>])[] = [
    // Any that has said something.
    [
      /<newest [^>]*>/g,
      async () =>
        (await got("{.items[?(@.status.succeeded==1)].metadata.name}", "jobs", own)).split(" ")[0] ?? "",
    ],
    [/<pod> -c redis/g, () => "redis-queue-0 -c redis"],
    [/<(primary|member|a member that answers|pod|its pod|name)>/g, pod],
    [/<scrape_job>/g, () => "postgres"],
    [/<job>/g, () => "edge"],
    [/<address>/g, () => got("{.status.podIP}", "pod", "postgres-0", "--namespace=data")],
    [/<node>/g, () => got("{.spec.nodeName}", "pod", "postgres-0", "--namespace=data")],
    [/<host>:443/g, () => edge.host],
    [/<host>/g, () => edge.hostname],
  ];
  let text = named;
  for (const [part, value] of parts) if (text.search(part) >= 0) text = text.replaceAll(part, await value());
  expect(text).not.toMatch(/<[a-z][^>]*>/);
  return text;
}

/** A forwarded port stays until it is ended; nobody measures pods for `kubectl top` on the machine's own node. */
const notTyped = /^(#|kubectl -n \w+ port-forward|kubectl top)/;

/** Types what a runbook says of how to see the alert. @throws where a command does not do what it is there for */
export async function typeRunbook(name: string): Promise<void> {
  const lines = blocksOf(`docs/runbooks/${name}.md`, "How to see it")
    .flatMap((block) => block.replaceAll("\\\n", " ").trimEnd().split("\n"))
    .filter((line) => !notTyped.test(line));
  for (const line of lines) {
    const command = await filled(line);
    // Where nothing is wrong, grep finds nothing, and says so by 1.
    const shown = await typed([command], line.includes("| grep") ? [0, 1] : [0]);
    // And a pod in which all is well may have logged nothing.
    if (!/\| grep| logs /.test(line)) expect(shown, command).not.toBe("");
  }
}

/**
 * The commands in what these runbooks say to do, each once; first those that restart something, as only then is there a
 * version to go back to.
 */
export function remediesOf(runbooks: readonly string[]): string[] {
  const commands = runbooks.flatMap((name) => {
    const text = readFileSync(join(repository, "docs", "runbooks", `${name}.md`), "utf8");
    const [, todo = ""] = /\n## What to do\n([\s\S]*?)\n## /.exec(text) ?? [];
    return [...todo.matchAll(/`(kubectl -n [^`]+)`/g)].map(([, command = ""]) =>
      command.replaceAll(/\s+/g, " "),
    );
  });
  const once = [...new Set(commands)];
  const restarts = (command: string): boolean => command.includes(" rollout restart ");
  return [...once.filter(restarts), ...once.filter((command) => !restarts(command))];
}

/** Types it; what would make, delete or take back something is only asked for, a restart is done. */
export async function typeRemedy(remedy: string): Promise<void> {
  const command = await filled(remedy);
  const changes = / (create|delete|undo) /.test(command);
  await typed([changes ? `${command} --dry-run=server` : command], command.includes("| grep") ? [0, 1] : [0]);
  if (command.includes(" rollout restart ")) await typed([command.replace(" restart ", " status ")]);
}

/** Names of metrics and of recorded series; of Postgres' the documents name views alone. */
const metricName =
  /\b(?:(?:app|alertmanager|container|groundwork|loki|node|otelcol|patroni|probe|prometheus|redis)_[a-zA-Z0-9_]+|(?:app|endpoint|probe|slo|volume):\w+:\w+)/g;
/** There only where secrets are in a vault or metrics are written elsewhere, too, or once Redis or a queue of spans has refused something. */
const notHere =
  /groundwork_vault_up|prometheus_remote_storage_|redis_errors_total|otelcol_exporter_enqueue_failed_spans_total/;

/** What these runbooks have Prometheus asked, each once. */
export function queriesOf(runbooks: readonly string[]): string[] {
  const spans = runbooks.flatMap((name) => {
    const text = readFileSync(join(repository, "docs", "runbooks", `${name}.md`), "utf8");
    return [...text.replaceAll(/^```[\s\S]*?^```/gm, "").matchAll(/`([^`]+)`/g)].map(([, code = ""]) => code);
  });
  const query = (code: string): boolean => code.search(metricName) >= 0 && !notHere.test(code);
  return [...new Set(spans.filter(query))];
}

/** Asks it. @throws where it is no query, or names a metric that nothing has */
export async function askQuery(query: string): Promise<void> {
  await ask("prometheus", `/api/v1/query?query=${encodeURIComponent(query)}`);
  for (const [name] of query.matchAll(metricName)) {
    const answers = [`metadata?metric=${name}`, `series?match[]=${name}`].map((path) =>
      ask("prometheus", `/api/v1/${path}`),
    );
    const found = (await Promise.all(answers)).map((answer) =>
      Object.keys((answer as { data: object }).data),
    );
    expect(found.flat(), name).not.toEqual([]);
  }
}
