/** What every local tool needs from the machine: the cache directory, commands, Debian packages, clear errors. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { access, constants, readFile, rename, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";

/** An error that is the user's to act on: printed as it is, without a stack trace. */
export class UserError extends Error {
  override readonly name = "UserError";
}

/** Everything local/ writes is below this directory; nothing goes into the repository. */
export function cacheDirectory(): string {
  const own = process.env["GROUNDWORK_CACHE"];
  if (own !== undefined && own !== "") return own;
  const base = process.env["XDG_CACHE_HOME"];
  return join(base !== undefined && base !== "" ? base : join(homedir(), ".cache"), "groundwork");
}

/** One line to the person watching. On stderr: stdout belongs to commands whose output is used (`make -s url`). */
export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: string;
  /** Ends the command when aborted. */
  readonly signal?: AbortSignal | undefined;
}

/** Every program of the machine that is started from here by its name, and what it comes with. */
export const comesWith: Readonly<Record<string, string>> = {
  "apt-config": "Debian's package apt",
  "apt-get": "Debian's package apt",
  az: "the Azure CLI",
  docker: "Docker, or Debian's package docker-cli",
  "dpkg-deb": "Debian's package dpkg",
  gh: "the GitHub CLI",
  git: "Debian's package git",
  go: "Go 1.26 or later",
  ip: "Debian's package iproute2",
  iptables: "Debian's package iptables",
  "iptables-restore": "Debian's package iptables",
  ln: "Debian's package coreutils",
  losetup: "Debian's package mount",
  make: "Debian's package make",
  "mkfs.xfs": "Debian's package xfsprogs",
  mount: "Debian's package mount",
  npm: "Node 24 or later",
  npx: "Node 24 or later",
  openssl: "Debian's package openssl",
  ps: "Debian's package procps",
  python3: "Debian's packages python3 and python3-venv",
  ss: "Debian's package iproute2",
  tar: "Debian's package tar",
  umount: "Debian's package mount",
  xfs_growfs: "Debian's package xfsprogs",
};

/**
 * Runs a command to its end and gives its stdout; a failure is an Error with the command and its last stderr lines.
 * @throws {UserError} when there is no such program, saying what to install.
 */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      command,
      args,
      { cwd: options.cwd, env: options.env, signal: options.signal, maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else if (isErrno(error, "ENOENT") && command in comesWith && existsSync(options.cwd ?? "."))
          reject(
            new UserError(
              `${command} is not on this machine, or not on PATH. Install ${comesWith[command] ?? command}, then run the same command again.`,
            ),
          );
        else reject(new Error(`${command} ${args.join(" ")}: ${lastLines(stderr, 5) || error.message}`));
      },
    );
    // A command that ends without reading its input makes the pipe fail; its exit status says what matters.
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(options.input ?? "");
  });
}

/** As `run`, but a failure is `undefined`: for questions ("is there…") and for clean-up that may find nothing. */
export async function tryRun(command: string, args: readonly string[]): Promise<string | undefined> {
  try {
    return await run(command, args);
  } catch {
    return undefined;
  }
}

export function lastLines(text: string, count: number): string {
  return text.trimEnd().split("\n").slice(-count).join("\n");
}

export async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** The file's text, or undefined if there is no such file. */
export async function readIfPresent(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

/** As a whole: a run that is killed meanwhile leaves what was there, never a part that no later run can read. */
export async function replaceFile(path: string, text: string, mode = 0o644): Promise<void> {
  await writeFile(`${path}.new`, text, { mode });
  await rename(`${path}.new`, path);
}

export function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}

export function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Where a command is on PATH or in the system directories that a plain user's PATH leaves out, but for the directory `except`. */
export async function findCommand(name: string, except?: string): Promise<string | undefined> {
  const directories = [
    ...(process.env["PATH"] ?? "").split(delimiter),
    "/usr/local/sbin",
    "/usr/sbin",
    "/sbin",
  ];
  for (const directory of directories.filter((entry) => entry !== "" && entry !== except)) {
    const candidate = join(directory, name);
    const executable = await access(candidate, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (executable) return candidate;
  }
  return undefined;
}

/** sudo replaces PATH, on which Node and Go may be, even where it keeps the rest of the environment. */
const asRoot = 'as root, `sudo -E env "PATH=$PATH" make …`, and later ones in the same way';

/**
 * @param what - what needs root, and why: "… needs root, as …"
 * @param otherwise - what would do without root: "or …"
 * @throws {UserError} where this is not root.
 */
export function requireRoot(what: string, otherwise: string): void {
  if (process.getuid?.() !== 0) throw new UserError(`${what}. Run the same command ${asRoot}; ${otherwise}.`);
}

/** What the person is told of an error: no stack trace where it is theirs to act on. */
export function explained(error: unknown): string {
  if (error instanceof UserError) return error.message;
  const path = error instanceof Error && "path" in error ? String(error.path) : "";
  if (isErrno(error, "EACCES") && path.startsWith(cacheDirectory()))
    return `${path} may not be used by this user, as after a command that was run as root. Run this one ${asRoot}.`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** A thing that must be on the machine (a command's name, or an absolute path), and the Debian package that has it. */
export interface SystemNeed {
  readonly provides: string;
  readonly debianPackage: string;
}

let installing: Promise<void> = Promise.resolve();

/** Installs what is missing with apt-get, saying so in one line; one call at a time, as apt-get allows no more. */
export function ensureSystemPackages(needs: readonly SystemNeed[], why: string): Promise<void> {
  const turn = installing.then(() => installMissing(needs, why));
  installing = turn.catch(() => undefined);
  return turn;
}

async function installMissing(needs: readonly SystemNeed[], why: string): Promise<void> {
  const missing = new Set<string>();
  for (const { provides, debianPackage } of needs) {
    const found = provides.startsWith("/")
      ? await exists(provides)
      : (await findCommand(provides)) !== undefined;
    if (!found) missing.add(debianPackage);
  }
  if (missing.size === 0) return;
  const packages = [...missing];
  if ((await findCommand("apt-get")) === undefined) {
    throw new UserError(
      `${why} needs what Debian calls ${packages.join(", ")}: install it, then run this again.`,
    );
  }
  const installing = `Installing ${packages.join(", ")} (for ${why})`;
  requireRoot(`${installing} needs root`, "or install what is named yourself, then run it again");
  say(`packages: apt-get install ${packages.join(" ")} (for ${why})`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  // Somebody else's apt-get is waited for.
  const install = ["install", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300", ...packages];
  try {
    await run("apt-get", install, { env }).catch(async () => {
      await run("apt-get", ["update"], { env });
      await run("apt-get", install, { env });
    });
  } catch (error) {
    throw new UserError(
      `apt-get could not install ${packages.join(", ")} (for ${why}): ${message(error)}\n` +
        "Check the package mirror, then run the same command again.",
    );
  }
}
