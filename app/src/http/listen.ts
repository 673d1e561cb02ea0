import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerOptions,
  STATUS_CODES,
} from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { hangUp } from "./hangUp.ts";
import { invalid, Problem } from "./problem.ts";
import type { ServedCertificate } from "./servedCertificate.ts";

export interface Listener {
  /** The port in use; another than asked for when 0 was. */
  port: number;
  /** Stops accepting, lets requests in flight finish for so long, then cuts them off. */
  close(graceSeconds: number): Promise<void>;
}

/** What takes connections over that are no longer to speak HTTP. */
export interface Upgrades {
  /** Whether the request is one of those; any other is answered as if it had not asked. */
  concerns(request: IncomingMessage): boolean;
  take(request: IncomingMessage, socket: Duplex, head: Buffer): void;
}

/** Longer than nginx keeps its upstream connections (60 s): the side that sends requests must be the one to close. */
const keepAliveTimeoutMs = 75_000;

/** A caller that sends slower than this holds a connection for nothing; looked for every five seconds. */
const limits: ServerOptions = {
  keepAliveTimeout: keepAliveTimeoutMs,
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  connectionsCheckingInterval: 5_000,
};

interface Options extends ServerOptions {
  upgrades?: Upgrades;
  /** With it the port speaks TLS and nothing else. */
  certificate?: ServedCertificate | undefined;
}

/** @throws when the port cannot be listened on, or the certificate cannot be used. */
export async function listen(
  handler: RequestListener,
  port: number,
  options: Options = {},
): Promise<Listener> {
  const { upgrades, certificate, ...more } = options;
  const { server, release } = await createFor(certificate, handler, {
    ...limits,
    shouldUpgradeCallback: (request) => upgrades?.concerns(request) ?? false,
    ...more,
  });
  if (upgrades) {
    server.on("upgrade", (request, socket, head) => {
      upgrades.take(request, socket, head);
    });
  }
  server.on("clientError", refuseMalformed);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, () => {
      server.removeListener("error", reject);
      resolve();
    });
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: (graceSeconds) => close(server, graceSeconds).finally(release),
  };
}

async function createFor(
  certificate: ServedCertificate | undefined,
  handler: RequestListener,
  options: ServerOptions,
): Promise<{ server: Server; release: () => void }> {
  if (!certificate) {
    return { server: createServer(options, handler), release: () => undefined };
  }
  const served = await certificate.load();
  const server = createTlsServer({ ...options, ...served, handshakeTimeout: 10_000 }, handler);
  return { server, release: certificate.renew(server, served) };
}

/** What is no HTTP never becomes a request: it is answered on the socket, as a problem like every other. */
function refuseMalformed(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const status =
    error.code === "HPE_HEADER_OVERFLOW" ? 431 : error.code === "ERR_HTTP_REQUEST_TIMEOUT" ? 408 : 400;
  const problem =
    status === 400
      ? invalid([{ field: "request", message: "expected well-formed HTTP" }])
      : new Problem(status);
  const body = JSON.stringify(problem.body(null));
  hangUp(
    socket,
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\nContent-Type: application/problem+json; charset=utf-8\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}

async function close(server: Server, graceSeconds: number): Promise<void> {
  const cutOff = setTimeout(() => {
    server.closeAllConnections();
  }, graceSeconds * 1000);
  // Closing the server closes connections that are idle then, but not those that become so after their request.
  const sweep = setInterval(() => {
    server.closeIdleConnections();
  }, 100);
  await new Promise<void>((resolve) => {
    server.close(() => {
      resolve();
    });
  });
  clearInterval(sweep);
  clearTimeout(cutOff);
}
