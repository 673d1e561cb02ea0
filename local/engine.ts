/**
 * The Pulumi engine of this machine: the CLI, the language host and the provider plugins, the real ones wherever they
 * can be had, else the stand-ins of local/plugins. What was chosen, and why, is said in one line each.
 */
import { chmod, mkdir, readFile, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { attempt, downloading } from "./engineDownloads.ts";
import {
  passphraseFile,
  projectDirectory,
  repository,
  stateDirectory,
  wrapperDirectory,
  type Engine,
} from "./stack.ts";
import { cacheDirectory, exists, findCommand, readIfPresent, replaceFile, run, say } from "./system.ts";

export interface EngineOptions {
  /** Builds the CLI from its Go module; gives its path. Called when it can be had in no other way. */
  readonly buildPulumi: () => Promise<string>;
}

interface Cli {
  readonly path: string;
  readonly version: string;
}

const leastVersion = [3, 200] as const;

/** The npm package that downloads the CLI of the same version. */
const downloader = { name: "pulumi", version: "3.265.0" } as const;

/** The real one asks for a sign-in even where it only previews, and nothing that this engine does may reach Azure. */
const neverReal = "azure-native";

/** Provider → the program that stands in for it. */
const standIns = {
  random: "random/main.ts",
  kubernetes: "kubernetes/main.ts",
  docker: "echo/main.ts",
  "azure-native": "echo/main.ts",
} as const;

const engineDirectory = (): string => join(cacheDirectory(), "engine");
const home = (): string => join(engineDirectory(), "home");
const chosenFile = (): string => join(engineDirectory(), "chosen.json");

/** Makes everything exist that the `pulumi` commands need, and gives the CLI with its environment. */
export async function prepareEngine(options: EngineOptions): Promise<Engine> {
  await mkdir(join(home(), "plugins"), { recursive: true, mode: 0o700 });
  const cli = await chooseCli(options);
  await chooseLanguageHost(cli);
  const standIn = await choosePlugins(cli);
  await replaceFile(chosenFile(), JSON.stringify({ pulumi: cli.path, standIn }));
  return engineOf(cli.path, standIn);
}

/** The engine as `prepareEngine` left it, without looking for anything again; undefined when there is none. */
export async function preparedEngine(): Promise<Engine | undefined> {
  const text = await readIfPresent(chosenFile());
  if (text === undefined) return undefined;
  const { pulumi, standIn } = JSON.parse(text) as { pulumi: string; standIn: boolean };
  return (await exists(pulumi)) ? engineOf(pulumi, standIn) : undefined;
}

async function engineOf(pulumi: string, standIn: boolean): Promise<Engine> {
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    PATH: [dirname(pulumi), dirname(process.execPath), process.env["PATH"] ?? ""].join(delimiter),
    PULUMI_HOME: home(),
    PULUMI_BACKEND_URL: `file://${stateDirectory()}`,
    PULUMI_CONFIG_PASSPHRASE_FILE: await passphraseFile(),
    PULUMI_SKIP_UPDATE_CHECK: "true",
    PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS: "true",
    // Node keeps compiled modules there: program and stand-ins start in half the time.
    NODE_COMPILE_CACHE: join(engineDirectory(), "compiled"),
    // The engine would look for the real plugins on the network for seconds, each time.
    ...(standIn && { PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: "true" }),
  };
  return { pulumi, env, project: projectDirectory() };
}

async function chooseCli({ buildPulumi }: EngineOptions): Promise<Cli> {
  const onPath = await findCommand("pulumi", wrapperDirectory());
  if (onPath !== undefined) {
    const version = await cliVersion(onPath);
    if (isRecent(version)) {
      say(`pulumi: ${version} from PATH (${onPath})`);
      return { path: onPath, version };
    }
    say(
      `pulumi: ${onPath} is ${version || "no CLI that answers"}, older than ${leastVersion.join(".")}: not used`,
    );
  }
  const downloaded = await downloadCli();
  if (downloaded !== undefined) {
    say(`pulumi: ${downloaded.version}, downloaded by the npm package ${downloader.name}`);
    return downloaded;
  }
  const path = await buildPulumi();
  const version = await cliVersion(path);
  say(`pulumi: ${version}, built from its Go module (not on PATH, and its download cannot be reached)`);
  return { path, version };
}

async function cliVersion(path: string): Promise<string> {
  const env = { ...process.env, PULUMI_HOME: home(), PULUMI_SKIP_UPDATE_CHECK: "true" };
  const text = await run(path, ["version"], { env }).catch(() => "");
  return text.trim().replace(/^v/, "");
}

function isRecent(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > leastVersion[0] || (major === leastVersion[0] && minor >= leastVersion[1]);
}

async function downloadCli(): Promise<Cli | undefined> {
  const { name, version } = downloader;
  const path = join(home(), "versions", version, "bin", "pulumi");
  if (await exists(path)) return { path, version };
  const refused = await attempt(engineDirectory(), "cli", async () => {
    const directory = join(engineDirectory(), "downloader");
    await mkdir(directory, { recursive: true });
    const flags = ["--prefix", directory, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    await run("npm", ["install", ...flags, `${name}@${version}`]);
    const script = join(directory, "node_modules", name, "run.js");
    await downloading("pulumi", process.execPath, [script, "version"], {
      ...process.env,
      PULUMI_HOME: home(),
    });
  });
  return refused === undefined && (await exists(path)) ? { path, version } : undefined;
}

/** The real language host comes with every release of the CLI and lies beside it; one built from source has none. */
async function chooseLanguageHost({ path, version }: Cli): Promise<void> {
  const name = "pulumi-language-nodejs";
  const beside = join(dirname(await realpath(path)), name);
  const real = (await exists(beside)) ? beside : await findCommand(name);
  const directory = join(home(), "plugins", `language-nodejs-v${version}`);
  if (real !== undefined) {
    await rm(directory, { recursive: true, force: true });
    say(`language host: ${real}`);
    return;
  }
  await layStandIn(directory, name, "language-nodejs/main.ts", "nodejs", version);
  say("language host: stand-in (this CLI came without one)");
}

/** Lays out a plugin for each provider; true when at least one is a stand-in. */
async function choosePlugins(cli: Cli): Promise<boolean> {
  let unreachable: string | undefined;
  let standIn = false;
  for (const [name, program] of Object.entries(standIns)) {
    const version = await packageVersion(name);
    const title = `plugin ${name} ${version}`;
    const file = `pulumi-resource-${name}`;
    const directory = join(home(), "plugins", `resource-${name}-v${version}`);
    const ambient = await findCommand(file);
    if (ambient !== undefined) {
      say(`${title}: ${ambient} on PATH`);
      continue;
    }
    if (name === neverReal) {
      await layStandIn(directory, file, program, name, version);
      standIn = true;
      say(`${title}: stand-in (this machine's engine does not sign in to Azure)`);
      continue;
    }
    if (await isReal(directory)) {
      say(`${title}: real, downloaded before`);
      continue;
    }
    const own = join(homedir(), ".pulumi", "plugins", `resource-${name}-v${version}`);
    if (await exists(join(own, file))) {
      await rm(directory, { recursive: true, force: true });
      await symlink(own, directory);
      say(`${title}: real, from ${own}`);
      continue;
    }
    // All come from one place: when the first cannot be had, the others are not waited for.
    unreachable ??= await attempt(engineDirectory(), "plugins", async () => {
      await rm(directory, { recursive: true, force: true });
      const env = { ...process.env, PULUMI_HOME: home(), PULUMI_SKIP_UPDATE_CHECK: "true" };
      await downloading(title, cli.path, ["plugin", "install", "resource", name, version], env);
    });
    if (unreachable === undefined) {
      say(`${title}: real, downloaded`);
      continue;
    }
    await layStandIn(directory, file, program, name, version);
    standIn = true;
    say(`${title}: stand-in (${unreachable})`);
  }
  return standIn;
}

async function packageVersion(name: string): Promise<string> {
  const file = join(repository, "node_modules", "@pulumi", name, "package.json");
  return (JSON.parse(await readFile(file, "utf8")) as { version: string }).version;
}

const mark = "stand-in";

async function isReal(directory: string): Promise<boolean> {
  return (await exists(directory)) && !(await exists(join(directory, mark)));
}

/** A plugin directory whose program starts Node with the stand-in. */
export async function layStandIn(
  directory: string,
  file: string,
  program: string,
  name: string,
  version: string,
): Promise<void> {
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { recursive: true });
  const command = `${quoted(process.execPath)} ${quoted(join(repository, "local", "plugins", program))}`;
  await writeFile(join(directory, mark), "");
  const variables = `PLUGIN_NAME=${quoted(name)} PLUGIN_VERSION=${quoted(version)}`;
  await writeFile(join(directory, file), `#!/bin/sh\n${variables} exec ${command} "$@"\n`);
  await chmod(join(directory, file), 0o755);
}

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
