/** Programs that cannot be downloaded here, built from Go modules pinned in local/modules; each is built once and kept. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, openSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, statfs } from "node:fs/promises";
import { freemem } from "node:os";
import { join, relative } from "node:path";
import { goModules, moduleDirectory, type GoModule, type GoModuleName } from "./goModules.ts";
import {
  cacheDirectory,
  ensureSystemPackages,
  exists,
  findCommand,
  lastLines,
  message,
  run,
  say,
  UserError,
} from "./system.ts";

/**
 * The directory that holds the module's programs, built now if they are not there yet.
 * `programs` names those wanted; without it, all of the module's. An interrupted build goes on where it stopped.
 */
export async function buildGoTool(name: GoModuleName, ...programs: readonly string[]): Promise<string> {
  const module: GoModule = goModules[name];
  const wanted = programs.length > 0 ? programs : Object.keys(module.programs);
  const source = moduleDirectory(name);
  const version = await goVersion(source);
  const target = join(cacheDirectory(), "bin", `${name}-${await fingerprint(source, module, version)}`);
  const missing: string[] = [];
  for (const program of wanted) if (!(await exists(join(target, program)))) missing.push(program);
  if (missing.length === 0) return target;

  await requireDisk(name, module.diskGiB);
  if (module.seccomp === true) {
    const needs = [
      { provides: "gcc", debianPackage: "gcc" },
      { provides: "pkg-config", debianPackage: "pkg-config" },
      { provides: "/usr/include/seccomp.h", debianPackage: "libseccomp-dev" },
      { provides: "/usr/include/errno.h", debianPackage: "libc6-dev" },
    ];
    await ensureSystemPackages(needs, `building ${name}`);
  }
  await removeAbandoned();
  const draft = `${target}.tmp-${process.pid}`;
  await mkdir(draft, { recursive: true });
  try {
    await compile(name, module, missing, source, draft);
    await mkdir(target, { recursive: true });
    for (const program of missing) await rename(join(draft, program), join(target, program));
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
  return target;
}

/** Where the sources of the module `path` are, as the local module `name` pins them; fetched now if they are not there yet. */
export async function fetchGoSource(name: string, path: string): Promise<string> {
  const cwd = moduleDirectory(name);
  await goVersion(cwd);
  const env = { ...process.env, GOFLAGS: "-mod=readonly", GOWORK: "off" };
  try {
    const answer = await run("go", ["mod", "download", "-json", path], { cwd, env });
    return (JSON.parse(answer) as { Dir: string }).Dir;
  } catch (error) {
    throw new UserError(
      `The sources of ${path} could not be had: ${message(error)}\nRun the same command again.`,
    );
  }
}

/** The toolchain that builds this module; Go itself fetches a newer one where it may. */
async function goVersion(source: string): Promise<string> {
  if ((await findCommand("go")) === undefined) {
    throw new UserError(
      "Go is needed to build the tools that cannot be downloaded here, and `go` is not on PATH. Install Go 1.26 or later.",
    );
  }
  try {
    return (await run("go", ["env", "GOVERSION"], { cwd: source })).trim();
  } catch (error) {
    const found = await run("go", ["version"], { env: { ...process.env, GOTOOLCHAIN: "local" } }).catch(
      () => "unknown",
    );
    throw new UserError(
      `This Go is too old to build ${source} (${found.trim()}): ${message(error)}\nInstall Go 1.26 or later.`,
    );
  }
}

/** Changes whenever anything that decides the programs' bytes changes. */
async function fingerprint(source: string, module: GoModule, version: string): Promise<string> {
  const hash = createHash("sha256").update(
    JSON.stringify([version, process.arch, module.programs, module.variables]),
  );
  const entries = await readdir(source, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
  for (const file of files.sort()) hash.update(relative(source, file)).update(await readFile(file));
  return hash.digest("hex").slice(0, 12);
}

async function requireDisk(name: string, neededGiB: number): Promise<void> {
  const directory = cacheDirectory();
  await mkdir(directory, { recursive: true });
  const { bavail, bsize } = await statfs(directory);
  const freeGiB = (bavail * bsize) / 2 ** 30;
  if (freeGiB < neededGiB) {
    throw new UserError(
      `Building ${name} needs about ${neededGiB} GiB and ${directory} has ${freeGiB.toFixed(1)} GiB free. ` +
        "Free some space, or set GROUNDWORK_CACHE to a directory on a larger disk.",
    );
  }
}

/** Drafts of runs that were killed. */
async function removeAbandoned(): Promise<void> {
  const directory = join(cacheDirectory(), "bin");
  for (const entry of await readdir(directory).catch(() => [])) {
    const owner = /\.tmp-(\d+)$/.exec(entry)?.[1];
    if (owner !== undefined && !(await exists(`/proc/${owner}`)))
      await rm(join(directory, entry), { recursive: true, force: true });
  }
}

async function compile(
  name: string,
  module: GoModule,
  programs: readonly string[],
  source: string,
  output: string,
): Promise<void> {
  const logFile = join(cacheDirectory(), "logs", `build-${name}.log`);
  await mkdir(join(cacheDirectory(), "logs"), { recursive: true });
  const variables = Object.entries(module.variables ?? {}).map(
    ([variable, value]) => `-X ${variable}=${value}`,
  );
  const args = [
    "build",
    "-v",
    "-mod=readonly",
    "-trimpath",
    "-ldflags",
    ["-s", "-w", ...variables].join(" "),
  ];
  if (module.seccomp === true) args.push("-tags", "seccomp");
  const env = {
    ...process.env,
    CGO_ENABLED: module.seccomp === true ? "1" : "0",
    GOCACHE: join(cacheDirectory(), "go-build"),
    GOFLAGS: "",
    GOWORK: "off",
    // Fewer collections build faster where memory allows it.
    GOGC: freemem() > 8 * 2 ** 30 ? "400" : "100",
  };
  const usual = module.minutes < 1 ? `${Math.round(module.minutes * 60)} s` : `${module.minutes} min`;
  say(
    `build: ${programs.join(", ")} from Go modules (a first build takes up to ${usual} on two cores; log ${logFile})`,
  );
  const started = Date.now();
  const log = openSync(logFile, "w");
  try {
    // One program after the other would link no faster, and together they share what they compile.
    for (const [packages, out] of buildSteps(module, programs, output)) {
      const status = await runWithProgress(
        [...args, "-o", out, ...packages],
        source,
        env,
        log,
        name,
        started,
        logFile,
      );
      if (status !== 0) throw new UserError(explain(name, await readFile(logFile, "utf8"), logFile));
    }
  } finally {
    closeSync(log);
  }
  say(`build: ${name} is done after ${elapsed(started)}`);
}

/** Programs named after their package are built together; one that is to have another name, by itself. */
function buildSteps(module: GoModule, programs: readonly string[], output: string): [string[], string][] {
  const packages = programs.map((program) => [program, module.programs[program]] as const);
  const together: string[] = [];
  const steps: [string[], string][] = [];
  for (const [program, path] of packages) {
    if (path === undefined)
      throw new Error(`no program ${program}: there are ${Object.keys(module.programs).join(", ")}`);
    if (path.endsWith(`/${program}`)) together.push(path);
    else steps.push([[path], join(output, program)]);
  }
  if (together.length > 0) steps.push([together, `${output}/`]);
  return steps;
}

async function runWithProgress(
  args: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv,
  log: number,
  name: string,
  started: number,
  logFile: string,
): Promise<number> {
  const child = spawn("go", args, { cwd, env, stdio: ["ignore", log, log] });
  const timer = setInterval(() => {
    void readFile(logFile, "utf8").then((text) => {
      say(`build: ${name}, ${elapsed(started)} so far, at ${lastLines(text, 1) || "reading its sources"}`);
    });
  }, 8_000);
  try {
    return await new Promise((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (code) => {
        resolve(code ?? 1);
      });
    });
  } finally {
    clearInterval(timer);
  }
}

function elapsed(since: number): string {
  const seconds = Math.round((Date.now() - since) / 1000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** What a person can do about a failed build. */
export function explain(name: string, log: string, logFile: string): string {
  const tail = lastLines(log, 6);
  if (/no space left on device/i.test(log)) {
    return `Building ${name} filled the disk. Free some space and run the same command again: it goes on where it stopped.\n${tail}`;
  }
  if (/checksum mismatch|SECURITY ERROR/.test(log)) {
    return `A downloaded module is not the one that go.sum names; nothing of it was used. Do not go on before that is understood.\n${tail}`;
  }
  if (
    /dial tcp|proxyconnect|TLS handshake|i\/o timeout|connection re|unexpected EOF|: 50\d |: 40\d |no such host/i.test(
      log,
    )
  ) {
    return `The Go module proxy stopped answering while ${name} was built. What was fetched is kept: run the same command again and it goes on.\n${tail}`;
  }
  return `Building ${name} failed; the whole log is ${logFile}. Its end:\n${tail}`;
}
