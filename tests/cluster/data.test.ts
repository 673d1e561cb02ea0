import { describe, expect, test } from "vitest";
import { kubectl, kubectlWith, postgresPrimary } from "./support.ts";

const secrets = "/run/secrets/groundwork";

/** The app's password and whose turn it is: after every second rotation it has another file. */
const appPassword = `set -- ${secrets}/app-password*; password=$(cat "$1"); turn=\${1#${secrets}/app-password};`;

function inPod(pod: string, script: string): Promise<string> {
  return kubectl("exec", "--namespace=data", pod, "--", "/bin/sh", "-c", script);
}

/** Asks a database server from a database pod, as the app's role, by the options of a connection string. */
async function ask(options: string): Promise<string> {
  const connection = `port=5432 dbname=app sslrootcert=${secrets}/ca.crt ${options}`;
  // A deputy is shown its own connection, the role that it acts as is not.
  const sql = "set role none; select ssl, version from pg_stat_ssl where pid = pg_backend_pid()";
  return inPod(
    await postgresPrimary(),
    `${appPassword} PGPASSWORD=$password PGUSER=app_user$(echo "$turn" | tr - _) psql -XAtc "${sql}" "${connection}" 2>&1`,
  );
}

describe("Postgres", () => {
  const host = "host=postgres.data.svc.cluster.local";

  test("proves its name to whoever connects", async () => {
    expect(await ask(`${host} sslmode=verify-full`)).toContain("t|TLSv1.3");
  });

  test("refuses an unencrypted connection", async () => {
    await expect(ask(`${host} sslmode=disable`)).rejects.toThrow();
    const said = await inPod(
      await postgresPrimary(),
      `psql -XAtc 'select 1' "${host} user=app_user sslmode=disable" 2>&1 || true`,
    );
    expect(said).toContain("no encryption");
  });

  test("is not believed by an address that its certificate does not bear", async () => {
    const said = await inPod(
      await postgresPrimary(),
      `psql -XAtc 'select 1' "host=$POD_IP user=app_user sslmode=verify-full sslrootcert=${secrets}/ca.crt" 2>&1 || true`,
    );
    expect(said).toContain("does not match host name");
  });

  test("has no client from elsewhere whose connection is not encrypted", async () => {
    const sql =
      "select usename, ssl from pg_stat_activity join pg_stat_ssl using (pid) where client_addr is not null";
    const rows = await inPod(await postgresPrimary(), `psql -XAt -h /run/patroni -U postgres -c "${sql}"`);
    expect(rows).toMatch(/^app_user(_2)?\|t$/m);
    expect(rows).not.toContain("|f");
  });

  test("lets Patroni be looked at by others, and told nothing", async () => {
    // From the API server, which is no member.
    const patroni = `/api/v1/namespaces/data/pods/http:${await postgresPrimary()}:8008/proxy`;
    expect(JSON.parse(await kubectl("get", "--raw", `${patroni}/cluster`))).toHaveProperty("members");
    const told = kubectlWith("{}", "create", "--raw", `${patroni}/reload`, "--filename=-");
    await expect(told).rejects.toThrow("Access is denied");
  });
});

test("the backups' store answers by TLS alone, and proves its name", async () => {
  const host = "azurite.data.svc.cluster.local";
  const program = [
    "import http.client, ssl, sys",
    "def ask(connection):",
    "    connection.request('GET', '/groundwork')",
    "    return connection.getresponse().status",
    "try:",
    `    said = ask(http.client.HTTPConnection('${host}', 10000, timeout=10))`,
    "except OSError as error:",
    "    said = type(error).__name__",
    `trusted = ssl.create_default_context(cafile='${secrets}/blob-store-ca.crt')`,
    `print(said, ask(http.client.HTTPSConnection('${host}', 10000, timeout=10, context=trusted)))`,
  ];
  const said = await inPod(await postgresPrimary(), `python3 -c "${program.join("\n")}"`);
  // Who does not sign in is refused, which takes a handshake.
  expect(said.trim()).toMatch(/^RemoteDisconnected 4\d\d$/);
});

/**
 * Says for each address of an instance of Redis and each protocol, offered alone, what the handshake came to: the protocol, or
 * the error's code.
 */
const handshakes = `
const { connect } = require("node:tls");
const [, name] = process.argv;
const sentinels = name === "redis-queue" ? (process.env.REDIS_QUEUE_SENTINELS ?? "").split(",").filter(Boolean) : [];
const ca = require("node:fs").readFileSync("${secrets}/" + name + "-ca.crt");
const tried = [name + ".data.svc.cluster.local:6379", ...sentinels].flatMap((address) =>
  ["TLSv1.3", "TLSv1.2"].map((version) => new Promise((resolve) => {
    const [host, port] = address.split(":");
    const limits = { minVersion: version, maxVersion: version, timeout: 10_000 };
    const socket = connect({ host, port: Number(port), servername: host, ca, ...limits });
    const say = (answer) => { socket.destroy(); resolve([address, version, answer]); };
    socket.on("secureConnect", () => say(socket.getProtocol()));
    socket.on("timeout", () => say("timeout"));
    socket.on("error", (error) => say(error.code));
  })));
Promise.all(tried).then((answers) => console.log(JSON.stringify(answers)));
`;

describe.each(["redis-queue", "redis-cache"])("%s", (name) => {
  const redis = (options: string) => inPod(`${name}-0`, `redis-cli ${options} 2>&1 || true`);
  const tls = `--tls --cacert ${secrets}/ca.crt`;

  test("has no unencrypted port", async () => {
    expect(await redis("-p 6379 ping")).toMatch(/^Error: /);
    const sockets = await inPod(`${name}-0`, "cat /proc/net/tcp /proc/net/tcp6");
    const listening = [...sockets.matchAll(/:([0-9A-F]{4}) 0+:0000 0A /g)].map(([, port = ""]) =>
      parseInt(port, 16),
    );
    // Besides Redis its exporter, which has figures only, and Sentinel where there are several members.
    expect(listening).toContain(6379);
    expect(listening.filter((port) => ![6379, 9121, 26379].includes(port))).toEqual([]);
  });

  test("speaks TLS 1.3 to the app, and nothing older", async () => {
    // By the certificate that the app knows, so that a refusal is the protocol's.
    const pod = ["--namespace=app", "deploy/app", "--", "node", "--eval", handshakes, name];
    const answers = JSON.parse(await kubectl("exec", ...pod)) as [string, string, string][];
    expect(answers.map(([address]) => address)).toContain(`${name}.data.svc.cluster.local:6379`);
    for (const [address, version, answer] of answers) {
      const expected = version === "TLSv1.3" ? version : "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION";
      expect(answer, `${version} to ${address}`).toBe(expected);
    }
  });

  test("lets nobody in without a name and a password", async () => {
    expect(await redis(`${tls} ping`)).toContain("NOAUTH");
    expect(await redis(`${tls} --user app --pass wrong ping`)).toContain("WRONGPASS");
  });

  test("lets the app work and not administer, and monitoring read figures and no data", async () => {
    const as = (user: string, command: string) =>
      redis(
        `${tls} --no-auth-warning --user ${user} --pass "$(cat ${secrets}/${user}-password*)" ${command}`,
      );
    expect(await as("app", "exists cluster-tests")).toContain("0");
    expect(await as("app", "config set maxmemory 1")).toContain("NOPERM");
    expect(await as("monitoring", "info server")).toContain("redis_version");
    expect(await as("monitoring", "get cluster-tests")).toContain("NOPERM");
  });
});
