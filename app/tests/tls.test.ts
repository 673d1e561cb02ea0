import { execFileSync } from "node:child_process";
import { chownSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createRedis } from "../src/cache/redis.ts";
import { readConfig } from "../src/config/config.ts";
import type { RedisConfig } from "../src/config/settings.ts";
import { createPool } from "../src/db/pool.ts";
import { silentLogger } from "./support/logs.ts";
import { asSuperuser, databaseConfig, Postgres } from "./support/postgres.ts";
import { freePort, type Running, start, stop } from "./support/processes.ts";

let directory: string;
let postgres: Postgres;
let redis: Running;
let redisConfig: RedisConfig;
const file = (name: string) => join(directory, name);

/** An authority, and one PEM with the certificate and key of a server that is called localhost. */
async function makeCertificates(authority: string, server: string): Promise<void> {
  const make = (name: string, subject: string, extra: string[]) => {
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2"];
    const out = ["-subj", subject, "-keyout", file(`${name}.key`), "-out", file(`${name}.crt`)];
    execFileSync("openssl", ["req", "-config", "/dev/null", "-x509", ...key, ...out, ...extra], {
      stdio: "pipe",
    });
  };
  make(authority, `/CN=${authority}`, ["-addext", "basicConstraints=critical,CA:TRUE"]);
  const signed = ["-CA", file(`${authority}.crt`), "-CAkey", file(`${authority}.key`)];
  make(server, "/CN=localhost", [...signed, "-addext", "subjectAltName=DNS:localhost"]);
  const parts = [
    await readFile(file(`${server}.crt`), "utf8"),
    await readFile(file(`${server}.key`), "utf8"),
  ];
  await writeFile(file(`${server}.pem`), parts.join(""), { mode: 0o600 });
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "groundwork-tls-"));
  await makeCertificates("ca", "server");
  await makeCertificates("stranger", "unused");
  postgres = await Postgres.create();
  const { address } = postgres;
  const bundle = join(address.directory, "server.pem");
  await writeFile(bundle, await readFile(file("server.pem")), { mode: 0o600 });
  if (process.getuid?.() === 0) chownSync(bundle, 65534, 65534);
  await asSuperuser(address, "postgres", async (client) => {
    for (const setting of ["ssl_cert_file", "ssl_key_file"]) {
      await client.query(`alter system set ${setting} = '${bundle}'`);
    }
    await client.query("alter system set ssl = on");
    await client.query("select pg_reload_conf()");
  });

  const port = await freePort();
  const passwordFile = file("password");
  await writeFile(passwordFile, "of-the-app");
  await writeFile(
    file("users.acl"),
    "user default off\nuser app on >of-the-app ~* &* +@all -@admin -@dangerous +info\n",
  );
  const tls = [
    "--tls-cert-file",
    file("server.pem"),
    "--tls-key-file",
    file("server.pem"),
    "--tls-auth-clients",
    "no",
  ];
  const args = [
    "--port",
    "0",
    "--tls-port",
    String(port),
    ...tls,
    "--aclfile",
    file("users.acl"),
    "--save",
    "",
  ];
  redis = start(process.env["REDIS_SERVER_BIN"] ?? "redis-server", [...args, "--dir", directory]);
  redisConfig = {
    user: "app",
    host: "localhost",
    port,
    tls: true,
    sentinels: [],
    databaseIndex: 0,
    passwordFile,
    caFile: file("ca.crt"),
  };
});

afterAll(async () => {
  await postgres.remove();
  await stop(redis, "SIGKILL");
  await rm(directory, { recursive: true, force: true });
});

describe("the connection to Postgres", () => {
  async function query(host: string, caFile: string | undefined): Promise<unknown> {
    const config = { ...(await databaseConfig(postgres.address, "postgres")), host, caFile };
    const pool = createPool(config, silentLogger);
    try {
      const sql = "select ssl, version from pg_stat_ssl where pid = pg_backend_pid()";
      return (await pool.query<{ ssl: boolean }>(sql)).rows[0];
    } finally {
      await pool.end();
    }
  }

  it("is encrypted where an authority is configured", async () => {
    expect(await query("localhost", file("ca.crt"))).toEqual({ ssl: true, version: "TLSv1.3" });
  });

  it("is refused when another authority signed the certificate", async () => {
    await expect(query("localhost", file("stranger.crt"))).rejects.toThrow(/certificate/);
  });

  it("is refused when the certificate bears another name", async () => {
    await expect(query("127.0.0.1", file("ca.crt"))).rejects.toThrow(/altnames/);
  });
});

describe("the connection to Redis", () => {
  async function set(
    changes: Partial<RedisConfig>,
    command: string[] = ["set", "key", "value"],
  ): Promise<unknown> {
    const errors: Error[] = [];
    const client = createRedis({ ...redisConfig, ...changes }, "test", silentLogger);
    client.on("error", (error) => errors.push(error));
    try {
      await new Promise((resolve, reject) => client.once("ready", resolve).once("error", reject));
      const [name = "", ...args] = command;
      return await client.call(name, ...args);
    } finally {
      client.disconnect();
    }
  }

  it("is encrypted and signed in as a user of its own", async () => {
    expect(await set({}, ["acl", "whoami"])).toBe("app");
    expect(await set({})).toBe("OK");
  });

  it("may not administer the server", async () => {
    await expect(set({}, ["config", "set", "maxmemory", "1"])).rejects.toThrow(/NOPERM/);
    await expect(set({}, ["flushall"])).rejects.toThrow(/NOPERM/);
  });

  it("is refused when another authority signed the certificate", async () => {
    await expect(set({ caFile: file("stranger.crt") })).rejects.toThrow(/certificate/);
  });

  it("is refused when the certificate bears another name", async () => {
    await expect(set({ host: "127.0.0.1" })).rejects.toThrow(/altnames/);
  });
});

describe("a CA file", () => {
  it.each(["DATABASE_CA_FILE", "REDIS_CACHE_CA_FILE", "REDIS_QUEUE_CA_FILE"])(
    "in %s that holds no authority is malformed",
    (name) => {
      const problemsOf = (path: string) => readConfig({ [name]: path }, []).problems;
      expect(problemsOf(file("ca.crt"))).toEqual([]);
      for (const wrong of ["server.crt", "password", "absent"]) {
        expect(problemsOf(file(wrong))).toMatchObject([{ variable: name, problem: "malformed" }]);
      }
    },
  );
});
