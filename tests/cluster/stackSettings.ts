/** Other settings for the running dev stack, by the same commands that a person would give, and back again. */
import { currentCluster } from "../../local/cluster.ts";
import { withLock } from "../../local/lock.ts";
import { pulumi, pulumiOutput, type Engine } from "../../local/stack.ts";
import { knownEngine, withKubeconfig } from "../../local/up.ts";

interface Settings {
  /** Key or section that the stack has not set yet → its value, or path below it → value. */
  readonly plain: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
  /** Key → value. */
  readonly secret: Readonly<Record<string, string>>;
}

const stack = ["--stack", "dev"] as const;

/** Brings the stack up with these settings; what is given back brings it up without them. */
export async function applySettings({ plain, secret }: Settings): Promise<() => Promise<void>> {
  const { engine } = withKubeconfig({ engine: await knownEngine(), cluster: await currentCluster() });
  const undo = (): Promise<void> =>
    withLock("stack", async () => {
      for (const section of Object.keys(plain)) await config(engine, ["rm", "--path", "--", section]);
      for (const key of Object.keys(secret)) await config(engine, ["rm", "--", key]);
      await bringUp(engine);
    });
  try {
    await withLock("stack", async () => {
      for (const [section, values] of Object.entries(plain)) {
        const below = typeof values === "string" ? { [section]: values } : prefixed(section, values);
        for (const [path, value] of Object.entries(below))
          await config(engine, ["set", "--path", "--", path, value]);
      }
      for (const [key, value] of Object.entries(secret)) {
        // By standard input: arguments can be read in the process list.
        await config(engine, ["set", "--secret", "--", key], value);
      }
      await bringUp(engine);
    });
  } catch (error) {
    await undo();
    throw error;
  }
  return undo;
}

/** @throws {Error} with what an `up` of the program would change, if there is anything. */
export async function nothingToDo(): Promise<void> {
  const { engine } = withKubeconfig({ engine: await knownEngine(), cluster: await currentCluster() });
  await pulumiOutput(engine, ["preview", "--expect-no-changes", "--non-interactive", ...stack]);
}

function prefixed(section: string, values: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([path, value]) => [`${section}.${path}`, value]));
}

function config(engine: Engine, [verb = "", ...args]: readonly string[], input?: string): Promise<string> {
  return pulumiOutput(engine, ["config", verb, ...stack, "--non-interactive", ...args], input);
}

async function bringUp(engine: Engine): Promise<void> {
  const code = await pulumi(engine, ["up", "--yes", "--skip-preview", "--non-interactive", ...stack]);
  if (code !== 0) throw new Error("pulumi up failed; its messages are above");
}
