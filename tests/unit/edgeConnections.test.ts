import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, type TLSSocket } from "node:tls";

import { afterAll, beforeAll, expect, test } from "vitest";

import {
  certificate,
  folder,
  logged,
  makeCertificate,
  setUp,
  startEdge,
  tearDown,
  type Edge,
} from "./edgeSupport.ts";

beforeAll(setUp);
afterAll(tearDown);

/** Connects as a client that checks nothing. */
async function connected({ httpsPort }: Edge): Promise<TLSSocket> {
  const options = { host: "127.0.0.1", port: httpsPort, servername: "localhost", rejectUnauthorized: false };
  const socket = connect(options);
  await once(socket, "secureConnect");
  return socket;
}

async function servedSerial(edge: Edge): Promise<string> {
  const socket = await connected(edge);
  const served = socket.getPeerX509Certificate();
  socket.destroy();
  return served?.serialNumber ?? "none";
}

/** Waits until the edge ends the connection, however it does. */
function closing(socket: TLSSocket): Promise<void> {
  socket.on("error", () => undefined).resume();
  return new Promise((resolve) =>
    socket.on("close", () => {
      resolve();
    }),
  );
}

test("a new certificate is served without a restart, and one that cannot be used changes nothing", async () => {
  const file = join(folder, "renewed.pem");
  makeCertificate(file);
  const edge = await startEdge({ certificateFile: file });
  const serialOf = (): string => new X509Certificate(readFileSync(file)).serialNumber;
  expect(await servedSerial(edge)).toBe(serialOf());

  const before = serialOf();
  writeFileSync(file, "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n");
  await sleep(600);
  expect(await servedSerial(edge)).toBe(before);

  makeCertificate(file);
  await expect.poll(() => servedSerial(edge), { timeout: 5_000 }).toBe(serialOf());
  expect(edge.process.exitCode).toBeNull();
});

test("a client that sends its headers slowly loses its connection", async () => {
  const edge = await startEdge({}, (content) =>
    content.replace("client_header_timeout 10s", "client_header_timeout 1s"),
  );
  const socket = await connected(edge);
  const closed = closing(socket);
  socket.write("GET /api/v1/a HTTP/1.1\r\nHost: localhost\r\n");
  // A byte now and then does not buy more time.
  const dripping = setInterval(() => socket.write("X: y\r\n"), 300);
  const start = performance.now();
  await closed;
  clearInterval(dripping);
  expect(performance.now() - start).toBeLessThan(2_500);
});

test("a client that sends its body slowly is given up before the app hears of it", async () => {
  const edge = await startEdge({}, (content) =>
    content.replace("client_body_timeout 10s", "client_body_timeout 1s"),
  );
  const socket = await connected(edge);
  const closed = closing(socket);
  socket.write("POST /api/v1/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nfirst");
  await closed;
  await expect.poll(() => edge.log().at(-1), logged).toMatchObject({ status: 408, upstream: "" });
});

test("chat may be silent for longer than any other answer", async () => {
  const files = readFileSync(
    join(import.meta.dirname, "..", "..", "k8s-manifests", "nginx", "nginx.conf"),
    "utf8",
  );
  expect(files.match(/proxy_read_timeout 15m;\n\s+proxy_send_timeout 15m;/)).not.toBeNull();
  const edge = await startEdge({}, (content) =>
    content.replace("proxy_read_timeout 30s", "proxy_read_timeout 1s"),
  );
  expect((await edge.get("/api/v2/chat/silent")).body).toBe("first last");
  await expect(edge.get("/api/v1/silent")).rejects.toThrow();
});

test("the certificate's file is never in an answer's way: the edge says nothing of itself but its name", async () => {
  const edge = await startEdge();
  for (const path of ["/nothing", "/api/v1/hang-up"]) {
    const { headers, body } = await edge.get(path);
    expect(headers.server).toBe("nginx");
    expect(body).not.toMatch(/nginx|\d+\.\d+\.\d+/);
    expect(body).not.toContain(certificate);
  }
});

test.each([
  ["1.22.1", false],
  ["1.27.3", false],
  ["1.27.4", true],
  ["1.28.0", true],
  ["2.0.1", true],
])("nginx %s is told to wait for what comes on kept connections: %s", (version, told) => {
  const home = mkdtempSync(join(folder, "start-"));
  const script = readFileSync(join(import.meta.dirname, "../../k8s-manifests/nginx/start.sh"), "utf8");
  writeFileSync(
    join(home, "start.sh"),
    script.replace(">/tmp/", `>${home}/`).replace("sleep 10", "sleep 0.1"),
  );
  writeFileSync(join(home, "nginx"), `#!/bin/sh\necho "nginx version: nginx/${version}" >&2\n`, {
    mode: 0o755,
  });
  const env = { ...process.env, PATH: [home, process.env["PATH"]].join(delimiter) };
  execFileSync("sh", [join(home, "start.sh"), join(home, "nginx")], { env, stdio: "ignore" });
  const kept = join(home, "kept.conf");
  expect(existsSync(kept)).toBe(told);
  if (told) expect(readFileSync(kept, "utf8")).toBe("keepalive_min_timeout 5s;\n");
});
