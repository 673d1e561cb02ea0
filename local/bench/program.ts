/** P3: the program itself for prod, by Pulumi's own runner, and how its time grows with the number of resources. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { globSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { runProgram } from "../plugins/language-nodejs/run.ts";
import { repository, writeProject } from "../stack.ts";
import { stackSettings, type StackSettings } from "../stackValues.ts";
import { run, say } from "../system.ts";
import { startMonitor } from "./monitor.ts";
import { line } from "./plot.ts";
import { atMost, below, type Measured, medianOf } from "./report.ts";

const runs = 5;
const scales = [1, 2, 5, 10] as const;

interface Once {
  /** From the start of the process until it asks for its first resource, seconds. */
  readonly beforeAsking: number;
  /** Until it ends, with every resource asked for and answered. */
  readonly whole: number;
  readonly resources: number;
}

export function measureProgram(): Promise<Measured> {
  return inProject(async (directory) => {
    const settings = await stackSettings("prod", true);
    const byScale = new Map<number, Once[]>();
    for (const scale of scales) {
      say(`the program for prod, ${scale} times in one process`);
      await once(directory, settings, scale);
      const measured: Once[] = [];
      for (let number = 1; number <= runs; number++) measured.push(await once(directory, settings, scale));
      byScale.set(scale, measured);
    }
    say("a program of one resource");
    const bare: number[] = [];
    for (let number = 0; number <= runs; number++)
      bare.push((await runOnce(directory, settings, oneResource)).beforeAsking);
    return resultOf(byScale, bare.slice(1), await importTimes());
  });
}

/** Of the program alone for a stack, against an engine that answers at once: seconds until all is asked for, run by run. */
export function programTimes(stack: string): Promise<number[]> {
  return inProject(async (directory) => {
    const settings = await stackSettings(stack, true);
    await once(directory, settings, 1);
    const times: number[] = [];
    for (let number = 1; number <= runs; number++) times.push((await once(directory, settings, 1)).whole);
    return times;
  });
}

/** Lends a Pulumi project whose program is the repository's. */
async function inProject<T>(work: (directory: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), "groundwork-program-"));
  // As in the engine's environment: compiled modules are kept from one run to the next.
  process.env["NODE_COMPILE_CACHE"] = join(directory, "compiled");
  try {
    await writeProject(directory);
    await writeFile(join(directory, "package.json"), "{}");
    return await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** The least that a program of this SDK is. */
const oneResource = `const k8s = require(${JSON.stringify(join(repository, "node_modules/@pulumi/kubernetes"))});\nnew k8s.core.v1.ConfigMap("one", {});\n`;

function once(directory: string, settings: StackSettings, scale: number): Promise<Once> {
  if (scale === 1) return runOnce(directory, settings);
  const index = pathToFileURL(join(repository, "index.ts")).href;
  // Its modules are loaded once; its body, where all resources are made, runs each time.
  return runOnce(
    directory,
    settings,
    `module.exports = async () => {\n  for (let n = 0; n < ${scale}; n++) await import(\`${index}?\${n}\`);\n};\n`,
  );
}

/** Runs the repository's program, or another. */
async function runOnce(
  directory: string,
  { config, secretKeys }: StackSettings,
  source?: string,
): Promise<Once> {
  const entry = join(directory, "entry.js");
  if (source !== undefined) await writeFile(entry, source);
  const monitor = await startMonitor();
  const started = performance.now();
  try {
    const { error, bail } = await runProgram({
      monitorAddress: monitor.address,
      engineAddress: monitor.address,
      organization: "organization",
      project: "groundwork",
      stack: "prod",
      pwd: repository,
      rootDirectory: directory,
      entryPoint: source === undefined ? "." : entry,
      args: [],
      dryRun: true,
      parallel: 16,
      config,
      configSecretKeys: [...secretKeys],
      options: { typescript: false },
    });
    if (error !== "" || bail) throw new Error(`the program for prod failed: ${error}`);
    const ended = performance.now();
    return {
      beforeAsking: ((monitor.firstAt() ?? Number.NaN) - started) / 1000,
      whole: (ended - started) / 1000,
      resources: monitor.resources(),
    };
  } finally {
    monitor.stop();
  }
}

/** Of azure-native: the parts that the program imports, and all of it; seconds in a process of its own. */
async function importTimes(): Promise<{ parts: number[]; all: number[] }> {
  const files = globSync("components/**/*.ts", { cwd: repository });
  const sources = await Promise.all(files.map((file) => readFile(join(repository, file), "utf8")));
  const parts = new Set(
    sources.flatMap((source) =>
      [...source.matchAll(/^import (?!type ).*from "(@pulumi\/azure-native[^"]*)"/gm)].map(
        ([, name = ""]) => name,
      ),
    ),
  );
  say("importing azure-native");
  const measure = async (modules: readonly string[]): Promise<number[]> => {
    const program = `require("@pulumi/pulumi"); const t = performance.now(); for (const m of ${JSON.stringify(modules)}) require(m); console.log(performance.now() - t)`;
    const times: number[] = [];
    for (let number = 0; number <= runs; number++)
      times.push(Number(await run(process.execPath, ["-e", program], { cwd: repository })) / 1000);
    return times.slice(1);
  };
  return { parts: await measure([...parts]), all: await measure(["@pulumi/azure-native"]) };
}

function resultOf(
  byScale: ReadonlyMap<number, Once[]>,
  bare: number[],
  imports: { parts: number[]; all: number[] },
): Measured {
  const points = [...byScale].map(([scale, measured]) => ({
    scale,
    resources: measured[0]?.resources ?? 0,
    values: measured.map(({ whole }) => whole),
  }));
  const [first, last] = [points[0], points.at(-1)];
  if (first === undefined || last === undefined) throw new Error("nothing was measured");
  // Seconds that a further resource takes: on the last stretch, against the mean of the whole way.
  const slope = (from: typeof first, to: typeof first) =>
    (medianOf(to.values) - medianOf(from.values)) / (to.resources - from.resources);
  const before = points.at(-2) ?? first;
  return {
    figures: [
      {
        what: "P3: start of the program for prod until it asks for its first resource",
        unit: "s",
        values: (byScale.get(1) ?? []).map(({ beforeAsking }) => beforeAsking),
        target: atMost(2, "s"),
      },
      { what: "the same of a program with one ConfigMap and no more", unit: "s", values: bare },
      ...points.map(({ resources, scale, values }) => ({
        what: `until all ${resources} resources are asked for (${scale} ×)`,
        unit: "s",
        values,
      })),
      {
        what: "a further resource: from 5 × to 10 ×, against 1 × to 10 ×",
        unit: "ratio",
        values: [slope(before, last) / slope(first, last)],
        target: { ...below(1.25), text: "linear: < 1.25" },
      },
      { what: "import of what is used of azure-native", unit: "s", values: imports.parts },
      { what: "import of all of azure-native", unit: "s", values: imports.all },
    ],
    notes: [
      "Pulumi's own runner (`@pulumi/pulumi/cmd/run`, settings of `Pulumi.yaml`) runs the program with the settings of " +
        "`Pulumi.prod.yaml` against an engine that answers at once (`local/bench/monitor.ts`); compiled modules are kept between " +
        "runs, as `make up` keeps them. For more resources the body of `index.ts` runs several times in the one process.",
      "The first is asked for when all are made, as nothing is sent before the program has gone through. What is above the program " +
        "with one ConfigMap is ours: loading the components, and making the resources. By hand on 2026-11-29, of 3.2 s: 0.9 to load " +
        "the SDK, 0.6 to load the rest, 1.3 to make the resources, 0.4 to serialize them; 0.6 of it are the stack traces that the SDK " +
        "takes for every resource and promise, and that cannot be turned off without losing those of errors.",
    ],
    plots: [
      {
        file: "program.svg",
        title: "The program's time over the number of resources",
        svg: line(
          "The program for prod: time over resources (median; line: minimum to maximum)",
          { x: "resources", y: "seconds" },
          points.map(({ resources, values }) => ({ x: resources, values })),
        ),
      },
    ],
  };
}
