import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { createRedis } from "../src/cache/redis.ts";
import type { RedisConfig } from "../src/config/settings.ts";
import { silentLogger } from "./support/logs.ts";
import { eventually, freePort, type Running, start, stop } from "./support/processes.ts";

const server = process.env["REDIS_SERVER_BIN"] ?? "redis-server";
const password = "of-the-app";
let directory: string;
let servers: Running[] = [];
/** Of the two servers, the primary's first. */
let ports: [number, number];
let config: RedisConfig;

/** Two servers and one Sentinel, which needs nobody's agreement. */
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "groundwork-sentinel-"));
  const [first, second, sentinel] = [await freePort(), await freePort(), await freePort()];
  const common = ["--bind", "127.0.0.1", "--save", "", "--requirepass", password, "--masterauth", password];
  // As start.sh sets it: a primary without a replica takes no writes.
  const guard = ["--min-replicas-to-write", "1", "--min-replicas-max-lag", "5"];
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
  ports = [first, second];
  servers = [
    start(server, ["--port", String(first), ...common, ...guard, "--dir", directory]),
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

it.each([
  ["has died", "SIGKILL"],
  ["keeps its connections and answers nothing", "SIGSTOP"],
] as const)(
  "the queue's client follows the Sentinels from a primary that %s",
  async (_, signal) => {
    const client = createRedis(config, "queue", silentLogger);
    try {
      await eventually(async () => {
        expect(await client.set("before", "1")).toBe("OK");
      });
      // The replica has what was written, and the Sentinel, which looks every ten seconds, knows that it is there.
      await eventually(async () => {
        expect(await client.info("replication")).toMatch(/connected_slaves:1[\s\S]*state=online/);
      });
      const sentinel = createRedis(
        { ...config, ...config.sentinels[0], sentinels: [] },
        "sentinel",
        silentLogger,
      );
      await expect
        .poll(() => sentinel.call("sentinel", "replicas", "queue").catch(() => []), { timeout: 15_000 })
        .toHaveLength(1);
      sentinel.disconnect();
      const [primary] = servers;
      primary?.child.kill(signal);
      await expect
        .poll(() => client.set("after", "1").catch(() => "away"), { timeout: 15_000, interval: 200 })
        .toBe("OK");
      expect(await client.get("before")).toBe("1");
    } finally {
      client.disconnect();
    }
  },
  60_000,
);

it("the queue's client leaves a primary that takes no more writes and keeps its connections", async () => {
  const direct = (port: number) =>
    createRedis({ ...config, host: "127.0.0.1", port, sentinels: [] }, "test", silentLogger);
  const [first, second, sentinel] = [...ports, config.sentinels[0]?.port ?? 0].map(direct);
  const client = createRedis(config, "queue", silentLogger);
  try {
    await eventually(async () => {
      expect(await client.set("before", "1")).toBe("OK");
    });
    // What a failover leaves when the old primary is back before the Sentinels have noticed that it was away.
    await second?.replicaof("NO", "ONE");
    await sentinel?.call("sentinel", "remove", "queue");
    await sentinel?.call("sentinel", "monitor", "queue", "127.0.0.1", String(ports[1]), "1");
    await sentinel?.call("sentinel", "set", "queue", "auth-pass", password);
    await eventually(async () => {
      await expect(first?.set("refused", "1")).rejects.toThrow(/^NOREPLICAS /);
    });
    await eventually(async () => {
      expect(await client.set("after", "1")).toBe("OK");
    });
    expect(await second?.get("after")).toBe("1");
  } finally {
    for (const one of [client, first, second, sentinel]) one?.disconnect();
  }
}, 60_000);
