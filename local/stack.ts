/**
 * The stack as this machine runs it: a Pulumi project in the cache directory whose program is the repository's, with a
 * copy of `Pulumi.<stack>.yaml` that the machine's own values are added to. The committed files are never written to.
 */
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { chmod, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { cacheDirectory, exists, readIfPresent, replaceFile, run, say, UserError } from "./system.ts";

export const repository = join(import.meta.dirname, "..");

/** As in Pulumi.yaml. */
export const projectName = "groundwork";

/** Where the edge answers on this machine. */
export const edgePorts = { https: 30443, http: 30080 } as const;

/** A Pulumi command line that is ready to use: private home, local backend, passphrase. */
export interface Engine {
  /** Path of the CLI. */
  readonly pulumi: string;
  /** Environment to run it in. */
  readonly env: NodeJS.ProcessEnv;
  /** Directory of the project that its commands are about. */
  readonly project: string;
}

type Settings = Record<string, unknown>;

interface StackFile {
  readonly encryptionsalt?: string;
  readonly config?: Settings;
}

export function stateDirectory(): string {
  return join(cacheDirectory(), "state");
}

/** The Pulumi project that every command of this machine runs in. */
export function projectDirectory(): string {
  return join(stateDirectory(), "project");
}

/** Where `pulumi` and `kubectl` for a person's own shell are, which `make env` puts on PATH: each calls another, never that one. */
export function wrapperDirectory(): string {
  return join(cacheDirectory(), "engine", "bin");
}

export function stackFile(stack: string): string {
  return join(projectDirectory(), `Pulumi.${stack}.yaml`);
}

/** The environment's file of the repository; an unknown stack is an error that lists the known ones. */
async function committed(stack: string): Promise<StackFile> {
  const text = await readIfPresent(join(repository, `Pulumi.${stack}.yaml`));
  if (text !== undefined) return parse(text) as StackFile;
  const known = (await readdir(repository)).flatMap((file) => /^Pulumi\.(.+)\.yaml$/.exec(file)?.[1] ?? []);
  throw new UserError(
    `There is no stack "${stack}": Pulumi.${stack}.yaml does not exist. Stacks: ${known.join(", ")}.`,
  );
}

/** Throws when the repository has no such stack, naming those it has. */
export async function requireStack(stack: string): Promise<void> {
  await committed(stack);
}

/** A section of the stack's configuration, as its committed file has it. */
export async function committedSection(stack: string, name: string): Promise<Settings> {
  return ((await committed(stack)).config?.[`groundwork:${name}`] ?? {}) as Settings;
}

/** The context that the stack's committed file names. */
export async function committedContext(stack: string): Promise<string> {
  const { context = "" } = (await committedSection(stack, "cluster")) as { context?: string };
  return context;
}

/**
 * Has the policy pack judge a preview or an `up` of the stack; development is not held to all that production is. The CLI tells
 * packs nothing of a stack: what they need to know is in a file for them.
 * @param project - directory with the stack's file, where it is not the committed one.
 */
export async function policyArguments(stack: string, project = repository): Promise<string[]> {
  const own = project !== repository && (await readIfPresent(join(project, `Pulumi.${stack}.yaml`)));
  const { config = {} } = own ? (parse(own) as StackFile) : await committed(stack);
  const pack = join(repository, "policy");
  const relaxed = join(pack, "development.json");
  const development = config["groundwork:environment"] === "development";
  const { podLogs } = (config["groundwork:logging"] ?? {}) as { podLogs?: string };
  const judged = ["--policy-pack", pack];
  if (podLogs === undefined) return development ? [...judged, "--policy-pack-config", relaxed] : judged;

  const rules = development ? (JSON.parse(await readFile(relaxed, "utf8")) as Settings) : {};
  const file = join(stateDirectory(), `policy-${stack}.json`);
  await mkdir(stateDirectory(), { recursive: true, mode: 0o700 });
  await replaceFile(file, JSON.stringify(merge(rules, { "no-host-access": { podLogs } })));
  return [...judged, "--policy-pack-config", file];
}

/** Whether the program makes the stack's cluster, so that no committed file can name its context. */
export async function makesCluster(stack: string): Promise<boolean> {
  return (await committedSection(stack, "azure"))["cluster"] === "create";
}

/** What a `make` command is told to work on the stack, where it is not dev. */
export function stackVariables(stack: string): string {
  const context = process.env["CONTEXT"] ?? "";
  return stack === "dev" ? "" : ` STACK=${stack}${context === "" ? "" : ` CONTEXT=${context}`}`;
}

/** The passphrase that encrypts this machine's states; made once. */
export async function passphraseFile(): Promise<string> {
  const path = join(stateDirectory(), "passphrase");
  if ((await readIfPresent(path)) === undefined) {
    await mkdir(stateDirectory(), { recursive: true, mode: 0o700 });
    await replaceFile(path, `${randomBytes(32).toString("base64url")}\n`, 0o600);
  }
  await chmod(path, 0o600);
  return path;
}

/** Makes a directory a Pulumi project whose program is the repository's, or that of another directory. */
export async function writeProject(directory: string, program = repository): Promise<void> {
  const project = parse(await readFile(join(program, "Pulumi.yaml"), "utf8")) as Settings;
  await writeFile(join(directory, "Pulumi.yaml"), stringify({ ...project, main: program }));
}

/** Whether this machine's state knows the stack, so that something may have been made for it. */
export function isInitialized(stack: string): Promise<boolean> {
  return exists(join(stateDirectory(), ".pulumi", "stacks", projectName, `${stack}.json`));
}

/** Whether a value of a stack file is ciphertext, as `pulumi config set --secret` writes it. */
export function isEncrypted(value: unknown): boolean {
  return isObject(value) && typeof value["secure"] === "string" && Object.keys(value).length === 1;
}

/** Whether it is ciphertext in whole or in part. */
function hasEncrypted(value: unknown): boolean {
  return isEncrypted(value) || (isObject(value) && Object.values(value).some(hasEncrypted));
}

/**
 * Makes the local project and the stack in it, with `settings` over the committed ones and `placed` for secrets. What is encrypted
 * in the committed file this machine's passphrase does not open; what is plain there stays, for the program to refuse.
 */
export async function prepareStack(
  engine: Engine,
  stack: string,
  settings: Settings,
  placed: Readonly<Record<string, string>>,
): Promise<void> {
  const base = Object.entries((await committed(stack)).config ?? {});
  const plain = Object.fromEntries(base.filter(([, value]) => !hasEncrypted(value)));
  const secrets = Object.fromEntries(Object.entries(placed).filter(([key]) => !(key in plain)));
  const lost = base.flatMap(([key]) => (key in plain || key in secrets ? [] : [key]));
  if (lost.length > 0)
    say(`left out of this run: ${lost.join(", ")}, encrypted in Pulumi.${stack}.yaml for another place`);
  await mkdir(projectDirectory(), { recursive: true, mode: 0o700 });
  await writeProject(projectDirectory());

  // Encrypted values differ each time, so what they were made from is remembered beside them, as hashes.
  const fingerprintFile = join(stateDirectory(), `${stack}-secrets.json`);
  const before = (parse((await readIfPresent(stackFile(stack))) ?? "{}") ?? {}) as StackFile;
  const known = JSON.parse((await readIfPresent(fingerprintFile)) ?? "{}") as Record<string, string>;
  const kept = Object.keys(secrets).filter(
    (key) => before.config?.[key] !== undefined && known[key] === fingerprint(secrets[key]),
  );
  const config = {
    ...merge(plain, settings),
    ...Object.fromEntries(kept.map((key) => [key, before.config?.[key]])),
  };
  const salt = before.encryptionsalt !== undefined && { encryptionsalt: before.encryptionsalt };
  await replaceFile(stackFile(stack), stringify({ ...salt, config }));
  if (!(await isInitialized(stack))) {
    await run(engine.pulumi, ["stack", "init", "--no-select", stack, "--non-interactive"], command(engine));
  }
  for (const [key, value] of Object.entries(secrets)) {
    if (kept.includes(key)) continue;
    // By standard input: arguments can be read in the process list.
    const args = ["config", "set", "--secret", "--stack", stack, key];
    await run(engine.pulumi, args, { ...command(engine), input: value });
  }
  const fingerprints = Object.entries(secrets).map(([key, value]) => [key, fingerprint(value)]);
  await replaceFile(fingerprintFile, JSON.stringify(Object.fromEntries(fingerprints)), 0o600);
}

function fingerprint(value: string | undefined): string {
  return createHash("sha256")
    .update(value ?? "")
    .digest("hex");
}

function command(engine: Engine): { cwd: string; env: NodeJS.ProcessEnv } {
  return { cwd: engine.project, env: engine.env };
}

/** Runs Pulumi on the person's terminal; its exit status is ours. */
export function pulumi(engine: Engine, args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(engine.pulumi, args, { ...command(engine), stdio: "inherit" });
    child.on("error", reject);
    child.on("close", (code) => {
      resolve(code ?? 1);
    });
  });
}

/** Runs Pulumi and gives what it printed. */
export function pulumiOutput(engine: Engine, args: readonly string[], input?: string): Promise<string> {
  return run(engine.pulumi, args, { ...command(engine), ...(input !== undefined && { input }) });
}

function isObject(value: unknown): value is Settings {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** `over` wins; objects are merged key by key, everything else is replaced. */
export function merge(base: Settings, over: Settings): Settings {
  return Object.fromEntries(
    [...new Set([...Object.keys(base), ...Object.keys(over)])].map((key) => {
      const [left, right] = [base[key], over[key]];
      if (isObject(left) && isObject(right)) return [key, merge(left, right)];
      return [key, right ?? left];
    }),
  );
}
