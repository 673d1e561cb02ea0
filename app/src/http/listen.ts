import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerOptions,
} from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";

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

/** @throws when the port cannot be listened on. */
export async function listen(
  handler: RequestListener,
  port: number,
  options: ServerOptions & { upgrades?: Upgrades } = {},
): Promise<Listener> {
  const { upgrades, ...serverOptions } = options;
  const server = createServer(
    {
      keepAliveTimeout: keepAliveTimeoutMs,
      requestTimeout: 30_000,
      shouldUpgradeCallback: (request) => upgrades?.concerns(request) ?? false,
      ...serverOptions,
    },
    handler,
  );
  if (upgrades) {
    server.on("upgrade", (request, socket, head) => {
      upgrades.take(request, socket, head);
    });
  }
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, () => {
      server.removeListener("error", reject);
      resolve();
    });
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: (graceSeconds) => close(server, graceSeconds),
  };
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
