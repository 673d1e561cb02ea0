import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { context as active, propagation, ROOT_CONTEXT } from "@opentelemetry/api";
import type { Logger } from "pino";
import { WebSocketServer } from "ws";
import { bearerToken, verified } from "../auth/guard.ts";
import { toProblem } from "../http/errors.ts";
import { hangUp } from "../http/hangUp.ts";
import type { Upgrades } from "../http/listen.ts";
import { forbidden, notFound, type Problem, unauthorized, Unavailable } from "../http/problem.ts";
import { currentContext, requestContext, runInContext } from "../observability/context.ts";
import { ChatConnection, type ConnectionArgs, type Identity } from "./connection.ts";
import { socketRoute } from "./delivery.ts";

/** The longest question in JSON's longest spelling (six bytes a character), and a token. */
const longestMessageBytes = 64 * 1024;
const closeGraceMs = 2000;

export interface SocketsArgs extends ConnectionArgs {
  /** Besides callers that are no browser and name none. */
  allowedOrigins: readonly string[];
}

/** The WebSocket's door: who may come in, and how everybody leaves. */
export class ChatSockets implements Upgrades {
  readonly #args: SocketsArgs;
  readonly #logger: Logger;
  readonly #server = new WebSocketServer({ noServer: true, maxPayload: longestMessageBytes });
  #closing = false;

  constructor(args: SocketsArgs) {
    this.#args = args;
    this.#logger = args.logger.child({ module: "chat" });
  }

  /** Whatever follows the path: a token in the URL would stand in logs, and is not looked at. */
  concerns({ url }: IncomingMessage): boolean {
    return url?.split("?", 1)[0] === socketRoute;
  }

  take(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on("error", (error) => {
      this.#logger.debug({ error }, "connection lost");
    });
    const { "x-request-id": requestId, traceparent } = request.headers;
    const context = requestContext(single(requestId), single(traceparent));
    const parent = propagation.extract(ROOT_CONTEXT, request.headers);
    const start = performance.now();
    const admit = async () => {
      try {
        const identity = await this.#admit(request);
        // Again: whoever is let in now is not among those that are told.
        this.#refuseWhenClosing();
        this.#server.handleUpgrade(request, socket, head, (webSocket) => {
          this.#logger.info("WebSocket opened");
          new ChatConnection(webSocket, this.#args, identity).start();
        });
      } catch (error) {
        const problem = toProblem(error);
        const { status } = problem;
        this.#args.metrics.requestAnswered("WS", socketRoute, status, (performance.now() - start) / 1000);
        this.#logger[status >= 500 ? "error" : "info"]({ status, error }, "WebSocket refused");
        refuse(socket, problem);
      }
    };
    void runInContext(context, () => active.with(parent, admit));
  }

  /** Tells everybody that this end is going away; who asks at once is answered by another replica. */
  async close(): Promise<void> {
    this.#closing = true;
    const leaving = [...this.#server.clients].map(async (webSocket) => {
      webSocket.close(1001, "the service is restarting");
      await Promise.race([once(webSocket, "close"), sleep(closeGraceMs)]);
      webSocket.terminate();
    });
    await Promise.all(leaving);
  }

  /** Whom the header Authorization names, if there is one. @throws the problem to refuse with. */
  async #admit(request: IncomingMessage): Promise<Identity | undefined> {
    const { origin, authorization } = request.headers;
    this.#refuseWhenClosing();
    if (!this.concerns(request)) {
      throw notFound();
    }
    // Browsers name the page's origin, and let any page open a WebSocket to anywhere.
    if (origin !== undefined && !this.#args.allowedOrigins.includes(origin)) {
      await this.#args.refusals.record("origin");
      throw forbidden("pages of this origin may not connect");
    }
    if (authorization === undefined) {
      return undefined;
    }
    const token = bearerToken(authorization);
    if (token === undefined) {
      await this.#args.refusals.record("no_credentials");
      throw unauthorized("a bearer token is needed");
    }
    const principal = await verified(token, this.#args);
    currentContext().tenantId = principal.tenantId;
    return { token, principal };
  }

  #refuseWhenClosing(): void {
    if (this.#closing) {
      throw new Unavailable("shutting down");
    }
  }
}

function single(header: string | string[] | undefined): string | undefined {
  return typeof header === "string" ? header : undefined;
}

function refuse(socket: Duplex, problem: Problem): void {
  const { requestId } = currentContext();
  const { title, ...rest } = problem.body(requestId);
  const body = JSON.stringify({ title, ...rest });
  const headers = {
    ...problem.headers,
    "Content-Type": "application/problem+json; charset=utf-8",
    "Content-Length": String(Buffer.byteLength(body)),
    "X-Request-Id": requestId ?? "",
    Connection: "close",
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  hangUp(socket, [`HTTP/1.1 ${problem.status} ${String(title)}`, ...lines, "", body].join("\r\n"));
}
