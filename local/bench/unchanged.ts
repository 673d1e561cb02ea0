/** P2: an `up` of the dev stack that changes nothing, against the `up` of a program that makes nothing. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { withLock } from "../lock.ts";
import { projectDirectory, type Engine } from "../stack.ts";
import { message, run, say, UserError } from "../system.ts";
import { bars } from "./plot.ts";
import { programTimes } from "./program.ts";
import { atMost, type Measured, ratios } from "./report.ts";
import { engineAndCluster, timed } from "./running.ts";

const runs = 5;
export const upCommand = ["up", "--yes", "--skip-preview", "--non-interactive", "--stack"] as const;

export async function measureUnchanged(): Promise<Measured> {
  const { engine } = await engineAndCluster();
  const [ours, empty]: [number[], number[]] = [[], []];
  await withLock("stack", () =>
    withEmptyProgram(engine, async (upEmpty) => {
      // Whatever is to be changed is changed before, and each side has run once.
      await upOfDev(engine, []);
      for (let number = 1; number <= runs; number++) {
        say(`an up that changes nothing, ${number} of ${runs}`);
        ours.push(await timed(() => upOfDev(engine, ["--expect-no-changes"])));
        empty.push(await timed(upEmpty));
      }
    }),
  );
  say("the program of the dev stack alone");
  const alone = await programTimes("dev");
  const series = [
    { label: "dev stack, nothing to change", values: ours },
    { label: "its program alone", values: alone },
    { label: "empty program", values: empty },
  ];
  return {
    figures: [
      { what: "`pulumi up` of the dev stack, nothing to change", unit: "s", values: ours },
      { what: "`pulumi up` of an empty program", unit: "s", values: empty },
      { what: "the program of the dev stack alone, all resources asked for", unit: "s", values: alone },
      { what: "P2: the one ÷ the other", unit: "ratio", values: ratios(ours, empty), target: atMost(1.5) },
    ],
    notes: [
      "Both by the same engine, the same local backend and passphrase, without preview, in turn; " +
        "`--expect-no-changes` makes sure that nothing was changed. The empty program is one of JavaScript without a line, " +
        "in a stack that is there already.",
      "The program alone runs against an engine that answers at once, as in P3. It is the limit that is hit: Pulumi's SDK has to be " +
        "loaded, and every resource to be made and asked for, before anybody can tell that nothing changes; the target allows less for all of it.",
    ],
    plots: [
      { file: "unchanged.svg", title: "Nothing to change", svg: bars("Nothing to change", "s", series) },
    ],
  };
}

/** `pulumi up` of the dev stack as it is configured. @throws with what Pulumi said, if it fails. */
export async function upOfDev(engine: Engine, options: readonly string[]): Promise<void> {
  await run(engine.pulumi, [...upCommand, "dev", ...options], {
    cwd: projectDirectory(),
    env: engine.env,
  }).catch((error: unknown) => {
    throw new UserError(`The dev stack could not be brought up: ${message(error)}`);
  });
}

/** Lends an `up` of a program that makes nothing, its stack made and brought up once. */
export async function withEmptyProgram(
  engine: Engine,
  work: (up: () => Promise<unknown>) => Promise<unknown>,
): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "groundwork-empty-"));
  const command = { cwd: directory, env: engine.env };
  const stack = "bench-empty";
  try {
    await writeFile(join(directory, "Pulumi.yaml"), "name: bench-empty\nruntime: nodejs\nmain: index.js\n");
    await writeFile(join(directory, "index.js"), "");
    await writeFile(join(directory, "package.json"), "{}");
    await run("ln", ["-s", join(import.meta.dirname, "../../node_modules"), directory]);
    await run(engine.pulumi, ["stack", "init", "--non-interactive", stack], command);
    const up = () => run(engine.pulumi, [...upCommand, stack], command);
    await up();
    await work(up);
  } finally {
    await run(engine.pulumi, ["stack", "rm", "--yes", "--force", "--non-interactive", stack], command).catch(
      () => undefined,
    );
    await rm(directory, { recursive: true, force: true });
  }
}
