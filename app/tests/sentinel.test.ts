import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { createRedis } from "../src/cache/redis.ts";
import type { RedisConfig } from "../src/config/config.ts";
import { silentLogger } from "./support/logs.ts";
import { eventually, freePort, type Running, start, stop } from "./support/processes.ts";

const server = process.env["REDIS_SERVER_BIN"] ?? "redis-server";
const password = "of-the-app";
let directory: string;
let servers: Running[] = [];
let config: RedisConfig;

/** Two servers and one Sentinel, which needs nobody's agreement. */
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "groundwork-sentinel-"));
  const [first, second, sentinel] = [await freePort(), await freePort(), await freePort()];
  const common = ["--bind", "127.0.0.1", "--save", "", "--requirepass", password, "--masterauth", password];
  const follow = ["--replicaof", "127.0.0.1", String(first)];
  const conf = join(directory, "sentinel.conf");
  await writeFile(
    conf,
    [
      `port ${sentinel}`,
      "bind 127.0.0.1",
      `requirepass ${password}`,
      `sentinel monitor queue 127.0.0.1 ${first} 1`,
      `sentinel auth-pass queue ${password}`,
      "sentinel down-after-milliseconds queue 500",
      "sentinel failover-timeout queue 2000",
    ].join("\n"),
  );
  servers = [
    start(server, ["--port", String(first), ...common, "--dir", directory]),
    start(server, ["--port", String(second), ...common, ...follow, "--dir", directory]),
    start(server, [conf, "--sentinel"]),
  ];
  const passwordFile = join(directory, "password");
  await writeFile(passwordFile, password);
  config = {
    user: undefined,
    host: "never-asked.invalid",
    port: 6379,
    tls: false,
    databaseIndex: 0,
    sentinels: [{ host: "127.0.0.1", port: sentinel }],
    passwordFile,
    caFile: undefined,
  };
});

afterEach(async () => {
  for (const running of servers) await stop(running, "SIGKILL");
  await rm(directory, { recursive: true, force: true });
});

it("the queue's client follows the Sentinels to another primary, by itself", async () => {
  const client = createRedis(config, "queue", silentLogger);
  try {
    await eventually(async () => {
      expect(await client.set("before", "1")).toBe("OK");
    });
    // Before the Sentinel knows the replica, there is nobody to move to.
    await eventually(async () => {
      expect(await client.info("replication")).toMatch(/connected_slaves:1[\s\S]*state=online/);
    });
    const [primary] = servers;
    await new Promise((resolve) => setTimeout(resolve, 2000));
    if (primary) await stop(primary, "SIGKILL");
    await expect
      .poll(() => client.set("after", "1").catch(() => "away"), { timeout: 15_000, interval: 200 })
      .toBe("OK");
    expect(await client.get("before")).toBe("1");
  } finally {
    client.disconnect();
  }
}, 40_000);
