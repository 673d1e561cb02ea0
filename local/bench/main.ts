/** `make bench`: measures, prints, and writes docs/benchmarks.md. Figures are never asserted: machines are noisy. */
import { loadavg } from "node:os";
import { say, UserError } from "../system.ts";
import { measureEdge } from "./edge.ts";
import { measureFootprint } from "./footprint.ts";
import { measurePeople } from "./people.ts";
import { measureProcess } from "./process.ts";
import { measureProgram } from "./program.ts";
import { measureReads } from "./reads.ts";
import { type Measured, tableOf, writePart } from "./report.ts";
import { measureRestore } from "./restore.ts";
import { measureStack } from "./stack.ts";
import { measureTests } from "./suite.ts";
import { measureUnchanged } from "./unchanged.ts";

interface Part {
  readonly title: string;
  readonly measure: () => Promise<Measured>;
}

/** In the order of the page. */
export const parts: Readonly<Record<string, Part>> = {
  stack: { title: "P1, P4: the stack from nothing", measure: measureStack },
  unchanged: { title: "P2: an `up` that changes nothing", measure: measureUnchanged },
  program: { title: "P3: the program itself", measure: measureProgram },
  tests: { title: "P5: the tests", measure: measureTests },
  edge: { title: "P6: what the edge costs", measure: measureEdge },
  reads: { title: "P7: an authenticated read", measure: measureReads },
  people: { title: "P8: ten times the expected users", measure: measurePeople },
  footprint: { title: "P9: memory that is asked for, and used", measure: measureFootprint },
  restore: { title: "P10: a restore", measure: measureRestore },
  process: { title: "One app process: start and memory", measure: measureProcess },
};

/** One part, or all; a part that fails ends the run, and those before it are written. */
export async function runBench(only = ""): Promise<void> {
  const names = only === "" ? Object.keys(parts) : [only];
  for (const name of names) {
    const part = parts[name];
    if (part === undefined)
      throw new UserError(`PART is "${name}" and may be ${Object.keys(parts).join(", ")}, or none for all`);
    say(`\n${part.title}`);
    const before = loadavg()[0] ?? 0;
    const measured = await part.measure();
    say(tableOf(measured.figures));
    await writePart(name, {
      title: part.title,
      command: `make bench PART=${name}`,
      ...measured,
      loads: [before, loadavg()[0] ?? 0],
    });
  }
  say("\nwritten to docs/benchmarks.md");
}
