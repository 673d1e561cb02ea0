/** P5: the README's test command. */
import { repository } from "../stack.ts";
import { lastLines, message, run, say, UserError } from "../system.ts";
import { atMost, type Measured } from "./report.ts";
import { timed } from "./running.ts";

/** Each takes minutes. */
const runs = 3;

export async function measureTests(): Promise<Measured> {
  const values: number[] = [];
  for (let number = 1; number <= runs; number++) {
    say(`make test, ${number} of ${runs}`);
    values.push(await timed(test));
  }
  return {
    figures: [{ what: "P5: `make test`", unit: "s", values, target: atMost(120, "s") }],
    notes: [
      "Lint, types, unit and app tests, after `npm ci` and with the tools that the tests use there. Three runs.",
    ],
  };
}

async function test(): Promise<void> {
  await run("make", ["test"], { cwd: repository }).catch((error: unknown) => {
    throw new UserError(`make test failed, so its time says nothing: ${lastLines(message(error), 5)}`);
  });
}
