/**
 * A Docker daemon of our own, for machines without one: started for a build and stopped after it, with its own socket and
 * directories below the cache and without any network, so that it changes nothing else on the machine.
 */
import { spawn } from "node:child_process";
import { mkdir, open, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  ensureSystemPackages,
  exists,
  findCommand,
  lastLines,
  readIfPresent,
  tryRun,
  UserError,
} from "../system.ts";

export interface DockerClient {
  readonly command: string;
  readonly env: NodeJS.ProcessEnv;
}

const startSeconds = 60;
const stopSeconds = 15;

/**
 * Runs `work`, as root, with a client of the private daemon below `directory`; the daemon ends with it, however it ends.
 * @param ending - ends the work when aborted
 */
export async function withPrivateDocker<T>(
  directory: string,
  ending: AbortSignal,
  work: (client: DockerClient, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  await ensureSystemPackages([{ provides: "dockerd", debianPackage: "docker.io" }], "building images");
  // Newer Debian releases have the client in a package of its own.
  await ensureSystemPackages([{ provides: "docker", debianPackage: "docker-cli" }], "building images");
  const aborter = new AbortController();
  const interrupt = (): void => {
    aborter.abort(new UserError("Interrupted. Run the same command again: what is built so far is kept."));
  };
  process.once("SIGINT", interrupt);
  process.once("SIGTERM", interrupt);
  try {
    // One that an interrupted run left behind; nobody else's, since its directory is ours and the lock is held.
    await stopPrivateDocker(directory);
    await startDaemon(directory);
    const signal = AbortSignal.any([aborter.signal, ending]);
    const result = await work(await client(directory), signal);
    return result;
  } catch (error) {
    aborter.abort();
    throw aborter.signal.reason instanceof UserError ? aborter.signal.reason : error;
  } finally {
    await stopPrivateDocker(directory);
    process.off("SIGINT", interrupt);
    process.off("SIGTERM", interrupt);
  }
}

async function client(directory: string): Promise<DockerClient> {
  // The daemon's own package has the client that speaks its version; a newer one on PATH may refuse to.
  const packaged = "/usr/bin/docker";
  const command = (await exists(packaged)) ? packaged : ((await findCommand("docker")) ?? packaged);
  const env = {
    ...process.env,
    DOCKER_HOST: socket(directory),
    DOCKER_CONFIG: join(directory, "config"),
    DOCKER_BUILDKIT: "0",
  };
  return { command, env };
}

function socket(directory: string): string {
  return `unix://${join(directory, "docker.sock")}`;
}

async function startDaemon(directory: string): Promise<void> {
  await mkdir(join(directory, "config"), { recursive: true, mode: 0o700 });
  const logFile = join(directory, "dockerd.log");
  const log = await open(logFile, "w");
  // A file of its own, so that the machine's /etc/docker/daemon.json, if there is one, is not read.
  const configFile = join(directory, "config", "daemon.json");
  await writeFile(configFile, JSON.stringify(daemonConfiguration(directory), undefined, 2));
  const command = (await findCommand("dockerd")) ?? "dockerd";
  // A group of its own: Ctrl-C must reach the builds, which then let go of the daemon, before the daemon itself.
  const daemon = spawn(command, ["--config-file", configFile], {
    detached: true,
    stdio: ["ignore", log.fd, log.fd],
  });
  let failure: string | undefined;
  daemon.once("error", (error) => (failure = error.message));
  daemon.once("exit", (code) => (failure = `it ended with status ${code ?? "unknown"}`));
  daemon.unref();
  await log.close();
  const { command: docker, env } = await client(directory);
  const deadline = Date.now() + startSeconds * 1000;
  while (Date.now() < deadline) {
    if (failure !== undefined) break;
    if ((await exists(join(directory, "docker.sock"))) && (await answers(docker, env))) return;
    await sleep(200);
  }
  throw new UserError(
    `The Docker daemon for building images does not start: ${failure ?? `no answer in ${startSeconds} s`}.\n` +
      `${lastLines(await readFile(logFile, "utf8"), 8)}\nAll of its log: ${logFile}`,
  );
}

function daemonConfiguration(directory: string): Record<string, unknown> {
  return {
    "data-root": join(directory, "data"),
    "exec-root": join(directory, "exec"),
    pidfile: join(directory, "dockerd.pid"),
    hosts: [socket(directory)],
    "storage-driver": "overlay2",
    // Builds use the machine's network as it is: no bridge, no rules in its firewall.
    bridge: "none",
    iptables: false,
    ip6tables: false,
    "ip-forward": false,
    "ip-masq": false,
  };
}

async function answers(docker: string, env: NodeJS.ProcessEnv): Promise<boolean> {
  const version = ["version", "--format", "{{.Server.Version}}"];
  const host = env["DOCKER_HOST"] ?? "";
  return (await tryRun(docker, ["--host", host, ...version])) !== undefined;
}

/** Ends the private daemon and its containerd if they run; safe to call when they do not. */
export async function stopPrivateDocker(directory: string): Promise<void> {
  const pidFiles = [join(directory, "dockerd.pid"), join(directory, "exec", "containerd", "containerd.pid")];
  for (const pidFile of pidFiles) {
    const pid = Number(await readIfPresent(pidFile));
    if (pid > 0 && (await isOurs(pid, directory))) await end(pid, directory);
    await rm(pidFile, { force: true });
  }
}

/** Whether the process is the daemon that these pid files mean, and not a stranger who was given the number since. */
async function isOurs(pid: number, directory: string): Promise<boolean> {
  const program = await readlink(`/proc/${pid}/exe`).catch(() => "");
  const commandLine = (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).split("\0");
  return (
    /(dockerd|containerd)$/.test(program) &&
    commandLine.some((argument) => argument.includes(`${directory}/`))
  );
}

async function end(pid: number, directory: string): Promise<void> {
  process.kill(pid, "SIGTERM");
  const deadline = Date.now() + stopSeconds * 1000;
  while (Date.now() < deadline) {
    if (!(await isOurs(pid, directory))) return;
    await sleep(100);
  }
  process.kill(pid, "SIGKILL");
}

/** Removes everything that the private daemon keeps, with the mounts that a killed one may have left. */
export async function removePrivateDocker(directory: string): Promise<void> {
  await stopPrivateDocker(directory);
  const mounts = await readFile("/proc/self/mounts", "utf8").catch(() => "");
  const ours = mounts.split("\n").map((line) => line.split(" ")[1] ?? "");
  for (const mount of ours.filter((path) => path.startsWith(`${directory}/`)).reverse()) {
    await tryRun("umount", ["--lazy", mount]);
  }
  await rm(directory, { recursive: true, force: true });
}
