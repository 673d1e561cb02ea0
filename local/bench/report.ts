/** What was measured, as a table of its own in docs/benchmarks.md. */
import { readFile, writeFile } from "node:fs/promises";
import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import { repository } from "../stack.ts";
import { run } from "../system.ts";

export interface Figure {
  readonly what: string;
  readonly unit: string;
  readonly values: readonly number[];
  readonly target?: { readonly text: string; readonly holds: (median: number) => boolean };
}

const [begin, end] = ["<!-- bench:begin -->", "<!-- bench:end -->"];

/** Replaces what an earlier run wrote between the markers, and nothing else. */
export async function writeReport(figures: readonly Figure[], notes: readonly string[]): Promise<void> {
  const file = join(repository, "docs/benchmarks.md");
  const text = await readFile(file, "utf8");
  const before = text.split(begin)[0]?.trimEnd() ?? "";
  const after = text.split(end)[1]?.trim() ?? "";
  const section = [begin, "## The app, by `make bench`", machine(), tableOf(figures), ...notes, end].join(
    "\n\n",
  );
  await writeFile(file, `${[before, section, after].filter((part) => part !== "").join("\n\n")}\n`);
  await run("npx", ["prettier", "--write", file], { cwd: repository });
}

export function tableOf(figures: readonly Figure[]): string {
  return [
    "| what | unit | runs | min | median | max | target | met |",
    "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ...figures.map(({ what, unit, values, target }) => {
      const [least, median, most] = [Math.min(...values), medianOf(values), Math.max(...values)].map(shown);
      const met = target === undefined ? "" : target.holds(medianOf(values)) ? "yes" : "**no**";
      return `| ${[what, unit, values.length, least, median, most, target?.text ?? "", met].join(" | ")} |`;
    }),
  ].join("\n");
}

export function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.ceil(middle) - 1] ?? Number.NaN) + (sorted[Math.floor(middle)] ?? Number.NaN)) / 2;
}

function shown(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function machine(): string {
  const day = new Date().toISOString().slice(0, 10);
  const memory = Math.round(totalmem() / 2 ** 30);
  return `Measured on ${day}: ${cpus().length} cores, ${memory} GiB of memory, Linux ${release()}, Node ${process.versions.node}; load, app, Postgres and Redis on the one machine.`;
}
