import type { V1ServiceList } from "@kubernetes/client-node";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { get as plainGet, type IncomingMessage } from "node:http";
import { connect as connectHttp2, constants } from "node:http2";
import { isIP } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, type ConnectionOptions } from "node:tls";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { ca, Client, edge, environment, get } from "./support.ts";

/** The protocol that a TLS handshake with the edge ended with. */
async function handshake(options: ConnectionOptions): Promise<string | null> {
  const host = edge.hostname;
  const servername = isIP(host) ? "" : host;
  const socket = connect({ host, port: Number(edge.port || 443), servername, ca, ...options });
  try {
    await once(socket, "secureConnect");
    return socket.getProtocol();
  } finally {
    socket.destroy();
  }
}

async function services(): Promise<V1ServiceList["items"]> {
  return ((await get("services", "--all-namespaces")) as V1ServiceList).items;
}

describe("TLS", () => {
  test("the certificate is our CA's, and nobody else vouches for it", async () => {
    await expect(handshake({})).resolves.toMatch(/^TLSv1\.[23]$/);
    await expect(handshake({ ca: [] })).rejects.toThrow(/certificate/);
  });

  test.each(["TLSv1.3", "TLSv1.2"] as const)("%s is spoken", async (version) => {
    await expect(handshake({ minVersion: version, maxVersion: version })).resolves.toBe(version);
  });

  test("TLS 1.1 is refused by the edge itself", async () => {
    // The client's own library would not even offer it at its usual security level.
    const old = { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT:@SECLEVEL=0" } as const;
    await expect(handshake(old)).rejects.toMatchObject({ code: "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION" });
  });

  test("Mozilla's intermediate profile is met without a finding", async () => {
    const target = `${edge.hostname}:${edge.port || "443"}`;
    const profile = ["--mozilla_config", "intermediate", "--certinfo_ca_file", environment("EDGE_CA")];
    const scan = promisify(execFile)(environment("TLS_SCANNER_PYTHON"), ["-m", "sslyze", ...profile, target]);
    // A finding is also an exit status other than 0, which would throw.
    const { stdout } = await scan;
    expect(stdout.slice(stdout.indexOf("COMPLIANCE AGAINST"))).toContain(`${target}: OK - Compliant.`);
  });

  test("browsers are told to come by https only", async () => {
    const { headers } = await new Client().get("/health");
    const maxAge = /^max-age=(\d+)/.exec(headers["strict-transport-security"] ?? "")?.[1];
    expect(Number(maxAge)).toBeGreaterThanOrEqual(31_536_000);
  });
});

test("plain http leads to the same path by https", async () => {
  const port = (await services())
    .find(({ metadata }) => metadata?.namespace === "edge" && metadata.name === "edge")
    ?.spec?.ports?.find(({ name }) => name === "http");
  const { hostname } = edge;
  const sent = plainGet({ hostname, port: port?.nodePort ?? port?.port, path: "/api/v1/documents?limit=2" });
  const [answer] = (await once(sent, "response")) as [IncomingMessage];
  answer.resume();
  expect(answer.statusCode).toBe(308);
  expect(answer.headers.location).toBe(new URL("/api/v1/documents?limit=2", edge).href);
});

test("HTTP/2 is spoken", async () => {
  const session = connectHttp2(edge.origin, { ca });
  try {
    const stream = session.request({ [constants.HTTP2_HEADER_PATH]: "/health" });
    const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
    expect(headers[constants.HTTP2_HEADER_STATUS]).toBe(200);
    expect(session.alpnProtocol).toBe("h2");
  } finally {
    session.destroy();
  }
});

test("/ready says that Postgres and Redis are up", async () => {
  const { status, body } = await new Client().get("/ready");
  expect(status).toBe(200);
  const { dependencies } = z
    .object({ dependencies: z.record(z.string(), z.object({ state: z.string() })) })
    .parse(JSON.parse(body));
  const states = Object.entries(dependencies).map(([name, { state }]) => `${name} ${state}`);
  expect(states).toContainEqual("postgres up");
  expect(states).toContainEqual(expect.stringMatching(/^redis.* up$/));
  expect(states.filter((state) => !state.endsWith(" up"))).toEqual([]);
});

describe("from outside", () => {
  test.each(["/metrics", "//metrics", "/ready/../metrics", "/api/v1/metrics", "/api/v1/..%2f..%2fmetrics"])(
    "%s shows no metrics",
    async (path) => {
      const { status, body } = await new Client().get(path);
      expect(status).toBeGreaterThanOrEqual(400);
      expect(status).toBeLessThan(500);
      expect(body).not.toContain("# HELP");
    },
  );

  test("the edge is the only Service that can be reached", async () => {
    const open = (await services()).filter(({ spec }) => spec?.type !== "ClusterIP");
    expect(open.map(({ metadata }) => metadata?.name)).toEqual(["edge"]);
  });
});

test("who asks too much gets 429 and is told when to come back, while others are served", async () => {
  const [greedy, other] = [new Client(), new Client()];
  const asked = Array.from({ length: 150 }, () => greedy.get("/api/health"));
  const served = other.get("/api/health");
  const answers = await Promise.all(asked);
  const refused = answers.filter(({ status }) => status !== 200);

  expect((await served).status).toBe(200);
  expect((await other.get("/api/health")).status).toBe(200);
  // Many at once are let through before anyone is held to the rate.
  expect(answers.length - refused.length).toBeGreaterThan(20);
  expect(refused.length).toBeGreaterThan(10);
  for (const { status, headers, body } of refused) {
    expect(status).toBe(429);
    expect(headers["content-type"]).toBe("application/problem+json");
    expect(headers["retry-after"]).toMatch(/^[1-9]\d*$/);
    expect(JSON.parse(body)).toMatchObject({ status: 429, title: "Too Many Requests" });
  }
  await sleep(Number(refused[0]?.headers["retry-after"]) * 1000);
  expect((await greedy.get("/api/health")).status).toBe(200);
});
