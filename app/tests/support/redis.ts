import { spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis as Client } from "ioredis";
import type { RedisConfig } from "../../src/config/settings.ts";
import { eventually, freePort, freeze, type Running, start, stop } from "./processes.ts";

function serverCommand(): string {
  const command = process.env["REDIS_SERVER_BIN"] ?? "redis-server";
  if (spawnSync(command, ["--version"]).status !== 0) {
    throw new Error(
      `cannot run ${command}: install Redis (Debian: redis-server) or set REDIS_SERVER_BIN to its redis-server`,
    );
  }
  return command;
}

/** A Redis of our own on a free port, with a password. */
export class Redis {
  readonly config: RedisConfig & { passwordFile: string };
  readonly #directory: string;
  #password = "";
  #running: Running | undefined;

  private constructor(directory: string, port: number) {
    this.#directory = directory;
    const passwordFile = join(directory, "password");
    this.config = {
      user: undefined,
      host: "127.0.0.1",
      port,
      tls: false,
      sentinels: [],
      databaseIndex: 0,
      passwordFile,
      caFile: undefined,
    };
  }

  static async create(): Promise<Redis> {
    const redis = new Redis(await mkdtemp(join(tmpdir(), "groundwork-redis-")), await freePort());
    await redis.setPassword("first-password");
    await redis.start();
    return redis;
  }

  /** Takes effect in the file at once, in the server at its next start. */
  async setPassword(password: string): Promise<void> {
    this.#password = password;
    await writeFile(this.config.passwordFile, password);
  }

  async start(): Promise<void> {
    const { port } = this.config;
    const args = ["--port", String(port), "--bind", "127.0.0.1", "--requirepass", this.#password];
    this.#running = start(serverCommand(), [...args, "--save", "", "--dir", this.#directory]);
    await eventually(
      () =>
        new Promise<void>((resolve, reject) => {
          const socket = createConnection({ port, host: "127.0.0.1" }, () => {
            socket.destroy();
            resolve();
          });
          socket.once("error", reject);
        }),
    );
  }

  async stop(): Promise<void> {
    if (this.#running) {
      await stop(this.#running, "SIGKILL");
    }
  }

  /** Loses everything, as an instance without its disk does. */
  async flush(): Promise<void> {
    await this.#ask((client) => client.flushall());
  }

  /** Breaks every connection again and again, for so long. */
  async cutOff(milliseconds: number): Promise<void> {
    await this.#ask(async (client) => {
      const end = Date.now() + milliseconds;
      while (Date.now() < end) {
        await client.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
        await sleep(2);
      }
    });
  }

  async #ask(command: (client: Client) => Promise<unknown>): Promise<void> {
    const client = new Client({ port: this.config.port, host: "127.0.0.1", password: this.#password });
    try {
      await command(client);
    } finally {
      client.disconnect();
    }
  }

  /** Connections stay open and nothing is answered, as when a machine is lost. */
  async freeze(): Promise<void> {
    if (this.#running) await freeze(this.#running.child);
  }

  thaw(): void {
    this.#running?.child.kill("SIGCONT");
  }

  async remove(): Promise<void> {
    await this.stop();
    await rm(this.#directory, { recursive: true, force: true });
  }
}
