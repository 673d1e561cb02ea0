/** A real nginx with the files that the edge would mount, before an app that answers with what it was sent. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import * as http from "node:http";
import * as https from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { freePort } from "../../app/tests/support/processes.ts";
import { edgeFiles, type EdgeSettings } from "../../components/ingressFiles.ts";
import { tool } from "./tools.ts";

export interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  /** Names and values as they were sent, repeated ones too. */
  readonly rawHeaders: readonly string[];
  readonly body: string;
}

export interface Edge {
  readonly httpsPort: number;
  readonly httpPort: number;
  readonly process: ChildProcess;
  /** The access log so far, parsed. */
  log(): Record<string, unknown>[];
  get(path: string, options?: https.RequestOptions & { readonly body?: string }): Promise<Answer>;
}

export const folder = mkdtempSync(join(tmpdir(), "groundwork-edge-"));
export const certificate = join(folder, "tls.pem");
/** PEM of the app's certificate and key, where it serves by TLS. */
export const appCertificate = join(folder, "app.pem");
export const generous = {
  requestsPerSecond: 10_000,
  burst: 10_000,
  signInPerMinute: 5,
  connectionsPerAddress: 50,
};
/** By which the edge checks the app. */
export const appName = "app.app.svc.cluster.local";
/** For expect.poll: a line of the access log may wait a second for others. */
export const logged = { timeout: 3_000 };
const edges: Edge[] = [];
let app: http.Server;
let tlsApp: https.Server;
let appPort: number;
/** Where the same app answers by TLS, as `app.app.svc.cluster.local`. */
export let tlsAppPort: number;
/** Requests that reached the app, by method, at the path where it hangs up. */
export const hungUp: string[] = [];

/** An app that answers with what it was sent. */
function testApp<Server extends http.Server>(create: (listener: http.RequestListener) => Server): Server {
  const server = create((request, response) => {
    const url = request.url ?? "";
    if (url === "/api/v1/hang-up") {
      hungUp.push(request.method ?? "");
      request.socket.destroy();
    } else if (url === "/api/v1/slow") {
      setTimeout(() => response.end("finished"), 1_000);
    } else if (url === "/api/v1/silent" || url === "/api/v2/chat/silent") {
      response.writeHead(200).write("first");
      setTimeout(() => response.end(" last"), 2_500);
    } else if (url === "/api/v2/chat/events") {
      response.writeHead(200, { "content-type": "text/event-stream" }).write("data: first\n\n");
      setTimeout(() => response.end("data: last\n\n"), 1_000);
    } else {
      request.resume().on("end", () => {
        response.writeHead(url === "/api/v1/busy" ? 429 : 200, {
          "content-type": "application/json",
          "content-security-policy": "default-src *",
          "x-frame-options": "SAMEORIGIN",
          "x-powered-by": "a framework",
          ...(url === "/api/v1/busy" && { "retry-after": "77" }),
        });
        response.end(JSON.stringify({ url, headers: request.headers }));
      });
    }
  });
  server.on("upgrade", (_, socket) => {
    socket.end("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
  });
  return server;
}

/**
 * Runs nginx as the component does, only its ports and writable paths moved, and looking at its certificate more often.
 * `rewrite` may change what else a test cannot wait for.
 */
export async function startEdge(
  changes: Partial<EdgeSettings> = {},
  rewrite: (content: string) => string = (content) => content,
): Promise<Edge> {
  const home = mkdtempSync(join(folder, "edge-"));
  const [httpsPort, httpPort, statusPort] = [await freePort(), await freePort(), await freePort()];
  const upstream = [{ percent: 100, host: "127.0.0.1", port: appPort }];
  const files = await new Promise<Record<string, string>>((resolve) => {
    edgeFiles({
      hosts: ["localhost", "api.example.com"],
      publicPort: httpsPort,
      certificateFile: certificate,
      limits: generous,
      trustedProxies: [],
      upstreams: { apiV1: upstream, apiV2: upstream, app: upstream },
      ...changes,
    }).apply(resolve);
  });
  mkdirSync(join(home, "tmp"));
  for (const [name, content] of Object.entries(files)) {
    const moved = content
      .replaceAll("listen 8443", `listen 127.0.0.1:${httpsPort}`)
      .replaceAll("listen 8080", `listen 127.0.0.1:${httpPort}`)
      .replaceAll("127.0.0.1:8081", `127.0.0.1:${statusPort}`)
      .replaceAll(/(pid |_path |include |>)\/tmp\//g, `$1${home}/tmp/`)
      .replace("sleep 10", "sleep 0.1");
    writeFileSync(join(home, name), rewrite(moved));
  }
  const logFile = join(home, "access.log");
  // A file, because nginx opens /dev/stdout by name and Node's pipes are sockets, which cannot be opened.
  const output = openSync(logFile, "w");
  const path = [dirname(tool("nginx")), process.env["PATH"]].join(delimiter);
  const authority = changes.upstreamTls ? [changes.upstreamTls.caFile] : [];
  const watched = [changes.certificateFile ?? certificate, ...authority];
  const child = spawn("sh", [join(home, "start.sh"), ...watched], {
    stdio: ["ignore", output, "pipe"],
    env: { ...process.env, PATH: path },
  });
  closeSync(output);
  let errors = "";
  child.stderr?.on("data", (data: Buffer) => (errors += data.toString()));

  const edge: Edge = {
    httpsPort,
    httpPort,
    process: child,
    log: () =>
      readFileSync(logFile, "utf8")
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line) as Record<string, unknown>),
    get: (path, options) => send(https, { port: httpsPort, path, ...options }),
  };
  edges.push(edge);
  for (let attempt = 0; attempt < 100; attempt++) {
    if (child.exitCode !== null) throw new Error(`nginx did not start: ${errors}`);
    if (await send(http, { port: httpPort, path: "/health" }).catch(() => undefined)) return edge;
    await sleep(50);
  }
  throw new Error(`nginx does not answer: ${errors}`);
}

export function send(
  protocol: typeof http | typeof https,
  options: https.RequestOptions & { body?: string },
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { body, ...rest } = options;
    const request = protocol.request(
      { host: "127.0.0.1", servername: "localhost", ca: readFileSync(certificate), agent: false, ...rest },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => {
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            rawHeaders: response.rawHeaders,
            body: Buffer.concat(chunks).toString(),
          });
        });
      },
    );
    request.setHeader("Host", (rest.headers as Record<string, string> | undefined)?.["Host"] ?? "localhost");
    request.on("error", reject);
    request.end(body);
  });
}

/** The headers that the app saw. */
export function seenByApp({ body }: Answer): http.IncomingHttpHeaders {
  return (JSON.parse(body) as { headers: http.IncomingHttpHeaders }).headers;
}

/** Writes a new certificate, which vouches for itself, and its key into one PEM file. */
export function makeCertificate(file: string, hosts = ["localhost", "api.example.com"]): void {
  const key = `${file}.key`;
  const names = ["-addext", `subjectAltName=${hosts.map((host) => `DNS:${host}`).join(",")}`];
  const kind = [
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:prime256v1",
    "-nodes",
    "-days",
    "2",
  ];
  execFileSync("openssl", [...kind, "-subj", "/CN=localhost", ...names, "-keyout", key, "-out", file], {
    stdio: "ignore",
  });
  writeFileSync(file, readFileSync(file, "utf8") + readFileSync(key, "utf8"));
}

/** Starts the app and makes the certificate that edges serve by default. */
export async function setUp(): Promise<void> {
  // The file of tests before shares this module: it may have removed the folder, and has had requests of its own.
  mkdirSync(folder, { recursive: true });
  hungUp.length = 0;
  makeCertificate(certificate);
  app = testApp((listener) => http.createServer(listener)).listen(0, "127.0.0.1");
  await once(app, "listening");
  appPort = (app.address() as AddressInfo).port;
  makeCertificate(appCertificate, [appName]);
  tlsApp = testApp((listener) => https.createServer(tlsOf(appCertificate), listener)).listen(0, "127.0.0.1");
  await once(tlsApp, "listening");
  tlsAppPort = (tlsApp.address() as AddressInfo).port;
}

function tlsOf(file: string): { cert: Buffer; key: Buffer } {
  const pem = readFileSync(file);
  return { cert: pem, key: pem };
}

/** The app goes on with another certificate, as it does when its own is renewed. */
export function serveAppBy(file: string): void {
  tlsApp.setSecureContext(tlsOf(file));
}

export async function tearDown(): Promise<void> {
  const running = edges.map((edge) => edge.process).filter((child) => child.exitCode === null);
  const gone = running.map((child) => once(child, "exit"));
  for (const child of running) child.kill("SIGTERM");
  await Promise.all(gone);
  for (const server of [app, tlsApp]) {
    server.closeAllConnections();
    server.close();
  }
  rmSync(folder, { recursive: true });
}
