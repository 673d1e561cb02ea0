/** Commands of the documents, typed as they stand there. */
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { expect } from "vitest";
import { kubectlProgram } from "../../local/cluster.ts";
import { repository } from "../../local/stack.ts";
import { kubectl } from "./support.ts";

/** The `sh` blocks of a page, or of one of its sections, in order. */
export function blocksOf(page: string, section?: string): string[] {
  const text = readFileSync(join(repository, page), "utf8");
  const part = section === undefined ? text : (text.split(`\n## ${section}\n`)[1]?.split("\n## ")[0] ?? "");
  return [...part.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, block = ""]) => block);
}

/** What a person's shell prints; it stops at the first command that fails, as it does with none of `statuses`. */
export async function typed(lines: readonly string[], statuses: readonly number[] = [0]): Promise<string> {
  const script = ["shopt -s expand_aliases", "set -euo pipefail", ...lines].join("\n");
  const path = [dirname(await kubectlProgram()), process.env["PATH"]].join(":");
  // A line at a time, as an alias is known only from the next one on.
  const running = promisify(execFile)("bash", ["-s"], {
    cwd: repository,
    env: { ...process.env, PATH: path },
  });
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
async function readersPart(): Promise<readonly (readonly [RegExp, string])[]> {
  const ofData = (path: string, ...what: readonly string[]): Promise<string> =>
    kubectl("get", ...what, "--namespace=data", `--output=jsonpath=${path}`);
  const edge = new URL(process.env["EDGE_URL"] ?? "");
  return [
    // Any that has said something.
    [
      /<newest [^>]*>/g,
      (await ofData("{.items[?(@.status.succeeded==1)].metadata.name}", "jobs")).split(" ")[0] ?? "",
    ],
    [/<pod> -c redis/g, "redis-queue-0 -c redis"],
    [/<(primary|member|a member that answers|pod|name)>/g, "postgres-0"],
    [/<namespace>/g, "data"],
    [/<scrape_job>/g, "postgres"],
    [/<address>/g, await ofData("{.status.podIP}", "pod", "postgres-0")],
    [/<node>/g, await ofData("{.spec.nodeName}", "pod", "postgres-0")],
    [/<host>:443/g, edge.host],
    [/<host>/g, edge.hostname],
  ];
}

/** A forwarded port stays until it is ended; nobody measures pods for `kubectl top` on the machine's own node. */
const notTyped = /^(#|kubectl -n \w+ port-forward|kubectl top)/;

/** Types what a runbook says of how to see the alert. @throws where a command does not do what it is there for */
export async function typeRunbook(name: string): Promise<void> {
  const lines = blocksOf(`docs/runbooks/${name}.md`, "How to see it")
    .flatMap((block) => block.replaceAll("\\\n", " ").trimEnd().split("\n"))
    .filter((line) => !notTyped.test(line));
  const parts = await readersPart();
  for (const line of lines) {
    const filled = parts.reduce((text, [part, value]) => text.replaceAll(part, value), line);
    expect(filled).not.toMatch(/<[a-z][^>]*>/);
    // Where nothing is wrong, grep finds nothing, and says so by 1.
    const shown = await typed([filled], line.includes("| grep") ? [0, 1] : [0]);
    // And a pod in which all is well may have logged nothing.
    if (!/\| grep| logs /.test(line)) expect(shown, filled).not.toBe("");
  }
}
