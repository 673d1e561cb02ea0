/** What a part measured, as its section of docs/benchmarks.md and as plots beside it. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
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

export interface Measured {
  readonly figures: readonly Figure[];
  /** How it was measured, and what a reader must know; a paragraph each. */
  readonly notes: readonly string[];
  readonly plots?: readonly Plot[];
}

export interface Plot {
  /** File name in docs/plots/. */
  readonly file: string;
  readonly title: string;
  readonly svg: string;
}

interface Section extends Measured {
  readonly title: string;
  /** What measured it. */
  readonly command: string;
  /** Load average of the machine before and after. */
  readonly loads: readonly [number, number];
}

export const reportFile = join(repository, "docs/benchmarks.md");

/** Replaces what an earlier run wrote between the part's markers, and nothing else. */
export async function writePart(part: string, section: Section): Promise<void> {
  await mkdir(join(repository, "docs/plots"), { recursive: true });
  for (const { file, svg } of section.plots ?? []) await writeFile(join(repository, "docs/plots", file), svg);
  const text = await readFile(reportFile, "utf8");
  await writeFile(reportFile, replaceBetween(text, part, sectionOf(section)));
  await run("npx", ["oxfmt", reportFile], { cwd: repository });
}

/** @throws when the page has no markers of that name. */
export function replaceBetween(text: string, name: string, content: string): string {
  const [begin, end] = [`<!-- ${name}:begin -->`, `<!-- ${name}:end -->`];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`the page has no ${begin} … ${end}`);
  return `${text.slice(0, from + begin.length)}\n\n${content}\n\n${text.slice(to)}`;
}

function sectionOf({ title, command, figures, notes, plots = [], loads }: Section): string {
  const images = plots.map((plot) => `![${plot.title}](plots/${plot.file})`);
  return [`### ${title}`, machine(command, loads), tableOf(figures), ...notes, ...images].join("\n\n");
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

export function shown(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

export function atMost(limit: number, unit = "") {
  return { text: `≤ ${limit} ${unit}`.trimEnd(), holds: (median: number) => median <= limit };
}

export function atLeast(limit: number, unit = "") {
  return { text: `≥ ${limit} ${unit}`.trimEnd(), holds: (median: number) => median >= limit };
}

export function below(limit: number, unit = "") {
  return { text: `< ${limit} ${unit}`.trimEnd(), holds: (median: number) => median < limit };
}

/** Run by run: each of `values` divided by the one of `others` that was measured with it. */
export function ratios(values: readonly number[], others: readonly number[]): number[] {
  return values.map((value, index) => value / (others[index] ?? Number.NaN));
}

function machine(command: string, [before, after]: readonly [number, number]): string {
  const day = new Date().toISOString().slice(0, 10);
  const memory = Math.round(totalmem() / 2 ** 30);
  return (
    `Measured on ${day} by \`${command}\`: ${cpus().length} cores, ${memory} GiB of memory, Linux ${release()}, ` +
    `Node ${process.versions.node}; what loads and what is loaded share the machine. Load average ${before.toFixed(1)} before and ` +
    `${after.toFixed(1)} after: where it is above the number of cores before, others were at work, and the figures say less.`
  );
}
