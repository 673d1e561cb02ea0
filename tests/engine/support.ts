/** A throw-away Pulumi project with a backend of its own, driven through the real CLI. */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildGoTool } from "../../local/gotools.ts";
import { preparedEngine, prepareEngine } from "../../local/engine.ts";
import { parse, stringify } from "yaml";
import { recover } from "../../local/recover.ts";
import { run } from "../../local/system.ts";
import { merge, repository, writeProject, type Engine } from "../../local/stack.ts";
import { asProgramSees, missingSecrets } from "../../local/stackValues.ts";

/** What the engine did to one resource. */
export interface Step {
  readonly op: string;
  readonly urn: string;
  /** The last part of the URN: the resource's name in the program. */
  readonly name: string;
  readonly type: string;
}

export interface Run {
  readonly exitCode: number;
  /** Everything that was printed. */
  readonly text: string;
  /** Steps that change something, in the order in which they ended (in a preview: were planned). */
  readonly changes: readonly Step[];
  readonly steps: readonly Step[];
}

export interface RunningCommand {
  readonly process: ChildProcess;
  readonly done: Promise<Run>;
  /** Resolves as soon as what was printed so far matches so many times; default once. */
  printed(pattern: RegExp, times?: number): Promise<void>;
}

export interface StateResource {
  readonly urn: string;
  readonly type: string;
  readonly id?: string;
  readonly inputs?: Record<string, unknown>;
  readonly outputs?: Record<string, unknown>;
  readonly initErrors?: readonly string[];
}

const eventLog = "events-";
const passphrase = "a passphrase of this test";
const unchanging = new Set(["same", "read", "refresh"]);

const leastLength = 24;

/**
 * How a secret may stand in a file: as it is, as JSON in JSON, in base64, or one of its longer lines or, of JSON, of its longer texts
 * by itself. Certificates in it are nobody's secret.
 */
export function formsOf(secret: string): string[] {
  const escaped = (text: string): string => JSON.stringify(text).slice(1, -1);
  const hidden = secret.replaceAll(/-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/g, "");
  const lines = hidden.split("\n").filter((line) => !line.startsWith("-----"));
  const parts = [...lines, ...textsIn(secret)].filter((part) => part.length >= leastLength);
  return [secret, ...parts].flatMap((text) => [
    text,
    escaped(text),
    escaped(escaped(text)),
    Buffer.from(text).toString("base64"),
  ]);
}

/**
 * The texts in a file of JSON, such as the keys in one of keys: of base64 without its padding, and without the letter before that,
 * as some of its bits may have been others in what the key was made of.
 */
function textsIn(file: string): string[] {
  const texts: string[] = [];
  try {
    JSON.parse(file, (_, value: unknown) => {
      if (typeof value === "string") texts.push(value.replace(/.=+$/, ""));
    });
  } catch {
    return [];
  }
  return texts;
}

/** The engine this machine has, or a new one (built when it cannot be had otherwise). */
export async function testEngine(): Promise<Engine> {
  const buildPulumi = async (): Promise<string> => join(await buildGoTool("pulumi"), "pulumi");
  return (await preparedEngine()) ?? (await prepareEngine({ buildPulumi }));
}

export class TestProject {
  readonly directory: string;
  readonly #engine: Engine;
  readonly #env: NodeJS.ProcessEnv;
  #logs = 0;

  private constructor(directory: string, engine: Engine, stack: string) {
    this.directory = directory;
    this.#engine = engine;
    this.#env = {
      ...engine.env,
      PULUMI_BACKEND_URL: `file://${join(directory, "state")}`,
      PULUMI_CONFIG_PASSPHRASE_FILE: undefined,
      PULUMI_CONFIG_PASSPHRASE: passphrase,
      PULUMI_STACK: stack,
      // Without it the CLI has no --event-log.
      PULUMI_DEBUG_COMMANDS: "true",
    };
  }

  /** A project called `name` with a stack `test`, its program yet to be written. */
  static async create(name: string): Promise<TestProject> {
    const { project, directory } = await TestProject.#empty("test");
    await symlink(join(repository, "node_modules"), join(directory, "node_modules"));
    await writeFile(join(directory, "package.json"), JSON.stringify({ name, main: "index.js" }));
    const settings = { name, runtime: { name: "nodejs", options: { typescript: false } } };
    await writeFile(join(directory, "Pulumi.yaml"), JSON.stringify(settings));
    await project.#init("test");
    return project;
  }

  /** The repository's own program with the configuration of one of its stacks, `settings` merged over it. */
  static async ofRepository(
    stack: string,
    settings: Record<string, unknown> = {},
    engine?: Engine,
  ): Promise<TestProject> {
    const { project, directory } = await TestProject.#empty(stack, engine);
    await writeProject(directory);
    const file = await readFile(join(repository, `Pulumi.${stack}.yaml`), "utf8");
    const { config } = parse(file) as { config?: Record<string, unknown> };
    await writeFile(
      join(directory, `Pulumi.${stack}.yaml`),
      stringify({ config: withoutNulls(merge(config ?? {}, settings), settings) }),
    );
    await project.#init(stack);
    return project;
  }

  /** The program of another directory, with a stack `test`. */
  static async ofProgram(program: string, config: Record<string, unknown>): Promise<TestProject> {
    const { project, directory } = await TestProject.#empty("test");
    await writeProject(directory, program);
    await writeFile(join(directory, "Pulumi.test.yaml"), stringify({ config }));
    await project.#init("test");
    return project;
  }

  static async #empty(stack: string, given?: Engine): Promise<{ project: TestProject; directory: string }> {
    const engine = given ?? (await testEngine());
    const directory = await mkdtemp(join(tmpdir(), "groundwork-engine-"));
    await mkdir(join(directory, "state"));
    return { project: new TestProject(directory, engine, stack), directory };
  }

  async #init(stack: string): Promise<void> {
    succeeded(await this.run(["stack", "init", stack]));
  }

  /** Merges settings over the stack's configuration. */
  async setConfig(settings: Record<string, unknown>): Promise<void> {
    const path = join(this.directory, `Pulumi.${this.#env["PULUMI_STACK"] ?? ""}.yaml`);
    const { config, ...rest } = parse(await readFile(path, "utf8")) as { config: Record<string, unknown> };
    await writeFile(path, stringify({ ...rest, config: merge(config, settings) }));
  }

  /** Gives the stack this configuration and no other. */
  async replaceConfig(config: Record<string, unknown>): Promise<void> {
    const path = join(this.directory, `Pulumi.${this.#env["PULUMI_STACK"] ?? ""}.yaml`);
    const settings = parse(await readFile(path, "utf8")) as Record<string, unknown>;
    await writeFile(path, stringify({ ...settings, config }));
  }

  /** Sets a secret of the stack's configuration. */
  async secret(key: string, value: string): Promise<void> {
    const args = ["config", "set", "--secret", key];
    await run(this.#engine.pulumi, args, { cwd: this.directory, env: this.#env, input: value });
  }

  /** Gives the stack a placeholder of each secret that its configuration must bring. */
  async fillSecrets(): Promise<void> {
    const path = join(this.directory, `Pulumi.${this.#env["PULUMI_STACK"] ?? ""}.yaml`);
    const { config } = parse(await readFile(path, "utf8")) as { config: Record<string, unknown> };
    const missing = await missingSecrets(asProgramSees(config));
    for (const [key, value] of Object.entries(missing)) await this.secret(key, value);
  }

  /** Writes the program (CommonJS). */
  async program(source: string): Promise<void> {
    await writeFile(join(this.directory, "index.js"), source);
  }

  /** Writes another file of the project, Pulumi.yaml for one. */
  async file(name: string, content: string): Promise<void> {
    await writeFile(join(this.directory, name), content);
  }

  up(env: Record<string, string> = {}): Promise<Run> {
    return this.run(["up", "--yes", "--skip-preview"], env);
  }

  preview(env: Record<string, string> = {}): Promise<Run> {
    return this.run(["preview"], env);
  }

  refresh(): Promise<Run> {
    return this.run(["refresh", "--yes", "--skip-preview"]);
  }

  destroy(): Promise<Run> {
    return this.run(["destroy", "--yes", "--skip-preview"]);
  }

  run(args: readonly string[], env: Record<string, string> = {}): Promise<Run> {
    return this.start(args, env).done;
  }

  /** Starts a command that the test wants to interrupt or to watch. */
  start(args: readonly string[], env: Record<string, string> = {}): RunningCommand {
    const updates = ["up", "preview", "refresh", "destroy"].includes(args[0] ?? "");
    const log = join(this.directory, `${eventLog}${this.#logs++}.json`);
    const logged = updates ? ["--event-log", log] : [];
    const child = spawn(this.#engine.pulumi, [...args, ...logged, "--non-interactive", "--color=never"], {
      cwd: this.directory,
      env: { ...this.#env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
      // A group of its own, so that a signal reaches what a terminal's would.
      detached: true,
    });
    let text = "";
    const waiting = new Set<() => void>();
    const collect = (chunk: string): void => {
      text += chunk;
      for (const look of waiting) look();
    };
    child.stdout.setEncoding("utf8").on("data", collect);
    child.stderr.setEncoding("utf8").on("data", collect);
    const done = new Promise<Run>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code) => {
        readSteps(log).then((steps) => {
          const changes = steps.filter(({ op }) => !unchanging.has(op));
          resolve({ exitCode: code ?? 1, text, steps, changes });
        }, reject);
      });
    });
    const printed = (pattern: RegExp, times = 1): Promise<void> =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if ([...text.matchAll(new RegExp(pattern, "g"))].length < times) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        done.then(() => {
          reject(new Error(`ended without printing ${pattern}:\n${text}`));
        }, reject);
        look();
      });
    return { process: child, done, printed };
  }

  /** The stack's state as it is stored: secrets encrypted. */
  async state(): Promise<{ text: string; resources: readonly StateResource[] }> {
    const { text } = await this.run(["stack", "export"]);
    const parsed = JSON.parse(text) as { deployment: { resources?: readonly StateResource[] } };
    return { text, resources: parsed.deployment.resources ?? [] };
  }

  /** One resource of the state by its name in the program. */
  async resource(name: string): Promise<StateResource> {
    const { resources } = await this.state();
    const found = resources.find(({ urn }) => urn.endsWith(`::${name}`));
    if (!found) throw new Error(`the state has no ${name}: ${resources.map(({ urn }) => urn).join(", ")}`);
    return found;
  }

  async outputs(show: "redacted" | "plain" = "plain"): Promise<Record<string, unknown>> {
    const flags = show === "plain" ? ["--show-secrets"] : [];
    const { text } = await this.run(["stack", "output", "--json", ...flags]);
    return JSON.parse(text) as Record<string, unknown>;
  }

  /** Every file of the project and its backend that has the text, or a long line of it, in it: where a secret has leaked to. */
  async filesWith(secret: string): Promise<string[]> {
    const entries = await readdir(this.directory, { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile() && !entry.name.startsWith(eventLog));
    const paths = files.map((entry) => join(entry.parentPath, entry.name));
    const contents = await Promise.all(paths.map((path) => readFile(path, "utf8")));
    const forms = formsOf(secret);
    return paths.filter((_, index) => forms.some((form) => contents[index]?.includes(form)));
  }

  /** What `make up` does first after a run that was killed. */
  recover(): Promise<void> {
    const engine = { ...this.#engine, env: this.#env, project: this.directory };
    const { KUBECONFIG = "", KUBE_CONTEXT = "" } = process.env;
    return recover(engine, this.#env["PULUMI_STACK"] ?? "", KUBECONFIG, KUBE_CONTEXT);
  }

  /** Destroys what is left and removes the project. */
  async dispose(): Promise<void> {
    await this.destroy();
    await this.remove();
  }

  /** Removes the project and leaves what it made. */
  async remove(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** Settings that are null take away what is configured. */
function withoutNulls(
  config: Record<string, unknown>,
  over: Record<string, unknown>,
): Record<string, unknown> {
  const isObject = (value: unknown): value is Record<string, unknown> =>
    typeof value === "object" && value !== null && !Array.isArray(value);
  return Object.fromEntries(
    Object.entries(config).flatMap(([key, value]) => {
      const change = over[key];
      if (change === null) return [];
      return [[key, isObject(value) && isObject(change) ? withoutNulls(value, change) : value]];
    }),
  );
}

interface EngineEvent {
  readonly resourcePreEvent?: { readonly metadata: StepMetadata; readonly planning?: boolean };
  readonly resOutputsEvent?: { readonly metadata: StepMetadata; readonly planning?: boolean };
}

interface StepMetadata {
  readonly op: string;
  readonly urn: string;
  readonly type: string;
}

async function readSteps(log: string): Promise<Step[]> {
  const text = await readFile(log, "utf8").catch(() => "");
  const events = text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as EngineEvent);
  return events
    .flatMap(({ resOutputsEvent }) => (resOutputsEvent ? [resOutputsEvent.metadata] : []))
    .map(({ op, urn, type }) => ({ op, urn, type, name: urn.split("::").at(-1) ?? urn }));
}

/** The changes to one resource, as operations. */
export function operations(run: Run, name: string): string[] {
  return run.changes.filter((step) => step.name === name).map(({ op }) => op);
}

/** The run if it succeeded; otherwise an error with what it printed. */
export function succeeded(run: Run): Run {
  if (run.exitCode !== 0) throw new Error(`exit code ${run.exitCode}:\n${run.text}`);
  return run;
}
