import { AsyncLocalStorage } from "node:async_hooks";
import { SpanKind } from "@opentelemetry/api";
import type { Logger } from "pino";
import type { RawData, WebSocket } from "ws";
import { z } from "zod";
import { type Admission, verified } from "../auth/guard.ts";
import type { RefusalReason, Refusals } from "../auth/refusals.ts";
import { rules } from "../auth/rules.ts";
import type { Principal, Tokens } from "../auth/tokens.ts";
import { toProblem } from "../http/errors.ts";
import { forbidden, Problem, unauthorized, validated } from "../http/problem.ts";
import { currentContext } from "../observability/context.ts";
import type { Metrics } from "../observability/metrics.ts";
import { recordError, traced } from "../observability/tracing.ts";
import { question } from "./chat.ts";
import { Delivery, socketRoute } from "./delivery.ts";
import type { ChatService } from "./service.ts";

const authenticationTimeoutMs = 5000;
/** Of the WebSocket protocol: the other side broke the rules. */
const policyViolation = 1008;

/** What a client may send. */
const clientMessage = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("auth"), token: z.string().max(8192) }),
  question.extend({ type: z.literal("ask") }),
  z.strictObject({
    type: z.literal("resume"),
    answerId: z.uuid(),
    lastEventId: z.int().min(0).max(999_999_999).default(0),
  }),
  z.strictObject({ type: z.literal("cancel") }),
]);

export interface ConnectionArgs {
  chat: Pick<ChatService, "ask" | "resume" | "cancel">;
  tokens: Tokens;
  refusals: Refusals;
  admit: Admission;
  heartbeatSeconds: number;
  metrics: Metrics;
  logger: Logger;
}

export interface Identity {
  token: string;
  principal: Principal;
}

/** One client's WebSocket: it says who it is, then asks one question at a time. */
export class ChatConnection {
  readonly #socket: WebSocket;
  readonly #args: ConnectionArgs;
  readonly #gone = new AbortController();
  readonly #delivery: Delivery;
  readonly #log: Logger;
  /** Runs work in the context of the upgrade: no event of a socket has it. */
  readonly #inContext = AsyncLocalStorage.snapshot();
  #token: string | undefined;
  #principal: Principal | undefined;
  #heard = true;
  /** Messages are dealt with one after another. */
  #work: Promise<void> = Promise.resolve();

  /** `identity` is whom the upgrade's own token named, if it had one. */
  constructor(socket: WebSocket, args: ConnectionArgs, identity: Identity | undefined) {
    this.#socket = socket;
    this.#args = args;
    this.#log = args.logger.child({ module: "chat" });
    this.#delivery = new Delivery({
      gone: this.#gone.signal,
      send: (frame) => this.#send(frame),
      failed: () => {
        this.#socket.terminate();
      },
      metrics: args.metrics,
    });
    this.#token = identity?.token;
    this.#principal = identity?.principal;
  }

  start(): void {
    const unknown = setTimeout(() => {
      if (this.#token === undefined && this.#socket.readyState === this.#socket.OPEN) {
        void this.#args.refusals.record("no_credentials");
        this.#socket.close(policyViolation, "no token came in time");
      }
    }, authenticationTimeoutMs);
    const heartbeat = setInterval(() => {
      this.#beat();
    }, this.#args.heartbeatSeconds * 1000);
    this.#socket.on("pong", () => {
      this.#heard = true;
    });
    this.#socket.on("message", (data, isBinary) => {
      // Nothing more is read until this is dealt with: a client cannot pile up work here.
      this.#socket.pause();
      this.#work = this.#work
        .then(() => this.#inContext(() => this.#receive(data, isBinary)))
        .then(() => {
          this.#unpause();
        });
    });
    this.#socket.on("close", () => {
      clearTimeout(unknown);
      clearInterval(heartbeat);
      this.#gone.abort();
    });
    // A message that is too long, or not the protocol: ws closes by itself.
    this.#socket.on("error", () => undefined);
  }

  /** Also of one that is being closed: the other side's consent has to be read. */
  #unpause(): void {
    // Its pongs of meanwhile are read from now on.
    this.#heard = true;
    this.#socket.resume();
  }

  #beat(): void {
    // While a message is dealt with, nothing is read: silence then is this end's.
    if (!this.#heard && !this.#socket.isPaused) {
      this.#socket.terminate();
      return;
    }
    this.#heard = false;
    this.#socket.ping();
    if (this.#token !== undefined) {
      this.#args.tokens.verify(this.#token).catch((error: unknown) => {
        // Whatever else keeps it from being verified is asked again at the next beat.
        if (toProblem(error).status === 401) {
          this.#socket.close(policyViolation, "the token is no longer valid");
        }
      });
    }
  }

  /** A span for each message: one of the connection's would be seen only after its end. */
  async #receive(data: RawData, isBinary: boolean): Promise<void> {
    const start = performance.now();
    const attributes = { "http.route": socketRoute };
    await traced(`WS ${socketRoute}`, { kind: SpanKind.SERVER, attributes }, async (span) => {
      try {
        await this.#obey(validated(clientMessage, parse(data, isBinary)));
      } catch (error) {
        const problem = toProblem(error);
        const { status } = problem;
        this.#args.metrics.requestAnswered("WS", socketRoute, status, (performance.now() - start) / 1000);
        if (status >= 500) {
          this.#log.error({ error }, "message failed");
          recordError(span, error);
        }
        await this.#send({ type: "problem", data: problem.body(currentContext().requestId) });
        if (status === 401) {
          this.#socket.close(policyViolation, "not authenticated");
        }
      }
    });
  }

  async #obey(message: z.infer<typeof clientMessage>): Promise<void> {
    if (message.type === "auth") {
      await this.#authenticate(message.token);
      return;
    }
    if (this.#token === undefined) {
      await this.#args.refusals.record("no_credentials");
      throw unauthorized("the first message must be of type auth");
    }
    const principal = await this.#authenticate(this.#token);
    switch (message.type) {
      case "ask": {
        this.#delivery.refuseSecond();
        await this.#args.admit(principal, { limit: "chat" });
        const { message: text, sessionId } = message;
        const answer = this.#args.chat.ask(principal, { message: text, sessionId });
        await this.#delivery.begin(answer.id, 0, (signal) => answer.read(0, signal));
        break;
      }
      case "resume": {
        this.#delivery.refuseSecond();
        await this.#args.admit(principal, {});
        const { answerId, lastEventId: after } = message;
        await this.#delivery.begin(answerId, after, (signal) =>
          this.#args.chat.resume(principal, answerId, after, signal),
        );
        break;
      }
      case "cancel": {
        const { answerId } = this.#delivery;
        if (answerId !== undefined && !this.#args.chat.cancel(principal, answerId)) {
          this.#delivery.stop();
        }
      }
    }
  }

  /** Later tokens renew the first; they cannot make the connection another user's. */
  async #authenticate(token: string): Promise<Principal> {
    const principal = await verified(token, this.#args);
    const known = this.#principal ?? principal;
    if (principal.tenantId !== known.tenantId || principal.subject !== known.subject) {
      return this.#refuse("other_user", known, "the token is another user's");
    }
    const rule = rules.find(({ path }) => path === socketRoute);
    if (!rule || rule.allow === "public" || !rule.allow.includes(principal.role)) {
      return this.#refuse("role", principal, `the role ${principal.role} may not do this`);
    }
    currentContext().tenantId = principal.tenantId;
    this.#token = token;
    this.#principal = principal;
    return principal;
  }

  /** Within the tenant's limit, as each refusal is a row of the audit log. */
  async #refuse(reason: RefusalReason, principal: Principal, detail: string): Promise<never> {
    await this.#args.admit(principal, {});
    await this.#args.refusals.record(reason, { principal, method: "WS", route: socketRoute });
    throw forbidden(detail);
  }

  /** Resolves when the frame has left, or will never. */
  async #send(frame: object): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#socket.send(JSON.stringify(frame), () => {
        resolve();
      });
    });
  }
}

function parse(data: RawData, isBinary: boolean): unknown {
  if (isBinary || !Buffer.isBuffer(data)) {
    throw new Problem(400, { detail: "expected JSON as text" });
  }
  try {
    return JSON.parse(data.toString("utf8"));
  } catch (error) {
    throw new Problem(400, { detail: "expected JSON as text", cause: error });
  }
}
