/** What a fault's runs counted, as its row of docs/reliability.md: a run of one fault replaces its row and no other. */
import { readFile, writeFile } from "node:fs/promises";
import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import { medianOf, shown } from "../../local/bench/report.ts";
import { repository } from "../../local/stack.ts";
import { run } from "../../local/system.ts";

/** One run; what was not counted is left out. */
export interface Counted {
  readonly passed: boolean;
  /** Requests that were answered as they should be. */
  readonly acknowledged: number;
  /** Requests that were refused, or not answered. */
  readonly failed: number;
  /** Of the acknowledged ones, those whose effect is missing. */
  readonly lost?: number;
  /** Those whose effect is there more than once. */
  readonly doubled?: number;
  /** Until requests are answered as before. */
  readonly recoverySeconds: number;
}

export const reportFile = join(repository, "docs/reliability.md");

/**
 * Lets `work` note its runs one by one, and writes them down however it ends: what it throws is a run that failed. A row is
 * named as the fault, or as one case of it (`bad-release: slow`). `.ci/run`, which sets TEST_REPORTS, leaves the page alone.
 */
export async function recorded(
  row: string,
  work: (note: (run: Counted) => void) => Promise<void>,
): Promise<void> {
  const runs: Counted[] = [];
  let broken = 1;
  try {
    await work((counted) => runs.push(counted));
    broken = 0;
  } finally {
    if (process.env["TEST_REPORTS"] === undefined) await writeRow(row, cellsOf(row, runs, broken));
  }
}

async function writeRow(row: string, cells: readonly string[]): Promise<void> {
  await writeFile(reportFile, replaceRow(await readFile(reportFile, "utf8"), row, cells));
  await run("npx", ["oxfmt", reportFile], { cwd: repository });
}

/** The cells after fault and holding; `broken` runs ended before they could be counted. */
export function cellsOf(row: string, runs: readonly Counted[], broken: number): string[] {
  const total = (key: "acknowledged" | "failed" | "lost" | "doubled"): string => {
    const values = runs.map((counted) => counted[key]).filter((value) => value !== undefined);
    return values.length === 0 ? "" : String(values.reduce((sum, value) => sum + value, 0));
  };
  const seconds = runs.map(({ recoverySeconds }) => recoverySeconds);
  const pauses =
    seconds.length === 0
      ? ""
      : [Math.min(...seconds), medianOf(seconds), Math.max(...seconds)].map(shown).join(" / ");
  const all = runs.length + broken;
  const passed = runs.filter((counted) => counted.passed).length;
  const day = new Date().toISOString().slice(0, 10);
  return [
    String(all),
    passed === all ? String(passed) : `**${passed}**`,
    total("acknowledged"),
    total("failed"),
    total("lost"),
    total("doubled"),
    pauses,
    `${day}, ${machine()}: \`make chaos FAULT=${row.split(":")[0] ?? ""} TIMES=${all}\``,
  ];
}

function machine(): string {
  return `${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}`;
}

/** Keeps the row's first three cells: target, name, and what must hold. @throws when the page has no such row. */
export function replaceRow(page: string, row: string, cells: readonly string[]): string {
  const lines = page.split("\n");
  const index = lines.findIndex((line) => line.split("|")[2]?.trim() === `\`${row}\``);
  if (index < 0) throw new Error(`docs/reliability.md has no row for ${row}`);
  const kept = (lines[index] ?? "").split("|").slice(1, 4);
  return lines.with(index, `|${[...kept, ...cells.map((cell) => ` ${cell} `)].join("|")}|`).join("\n");
}
