import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

export interface SeenRequest {
  path: string;
  key: string;
  body: Record<string, unknown>;
  /** Whether the caller hung up before the answer's end. */
  aborted: boolean;
}

export type Behaviour = (response: ServerResponse) => void | Promise<void>;

function chunk(content: string, finish: string | null = null): string {
  const choices = [{ index: 0, delta: finish === null ? { content } : {}, finish_reason: finish }];
  return `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", choices })}\n\n`;
}

const stream = { "Content-Type": "text/event-stream" };
const end = `${chunk("", "stop")}data: [DONE]\n\n`;

/** Answers whole. */
export function says(...pieces: string[]): Behaviour {
  return (response) => {
    response.writeHead(200, stream).end(pieces.map((piece) => chunk(piece)).join("") + end);
  };
}

/** Answers whole, and ends for this reason. */
export function finishes(reason: string, ...pieces: string[]): Behaviour {
  const text = pieces.map((piece) => chunk(piece)).join("") + chunk("", reason);
  return answers("text/event-stream", `${text}data: [DONE]\n\n`);
}

/** Answers piece by piece, with a pause before each. */
export function saysSlowly(pauseMs: number, ...pieces: string[]): Behaviour {
  return async (response) => {
    response.writeHead(200, stream).flushHeaders();
    for (const piece of pieces) {
      await sleep(pauseMs);
      if (!response.write(chunk(piece)) && !response.destroyed) {
        await Promise.race([once(response, "drain"), once(response, "close")]);
      }
    }
    response.end(end);
  };
}

/** Gives these pieces, then the connection breaks, or the stream just ends. */
export function cutsOffAfter(how: "broken" | "ended", ...pieces: string[]): Behaviour {
  return async (response) => {
    response.writeHead(200, stream).write(pieces.map((piece) => chunk(piece)).join(""));
    await sleep(50);
    if (how === "broken") {
      response.destroy();
    } else {
      response.end();
    }
  };
}

export function fails(status: number, headers: Record<string, string> = {}): Behaviour {
  return (response) => {
    response.writeHead(status, headers).end(JSON.stringify({ error: { message: "no" } }));
  };
}

/** Answers this text as it is. */
export function answers(contentType: string, text: string): Behaviour {
  return (response) => {
    response.writeHead(200, { "Content-Type": contentType }).end(text);
  };
}

/** Answers this text piece by piece, with a pause before each. */
export function answersSlowly(pauseMs: number, contentType: string, ...pieces: string[]): Behaviour {
  return async (response) => {
    response.writeHead(200, { "Content-Type": contentType }).flushHeaders();
    for (const piece of pieces) {
      await sleep(pauseMs);
      response.write(piece);
    }
    response.end();
  };
}

export const hangs: Behaviour = () => undefined;

/** An OpenAI-compatible API that does as told: what is queued in `next`, one request each, then `otherwise`. */
export class FakeProvider {
  readonly requests: SeenRequest[] = [];
  readonly next: Behaviour[] = [];
  otherwise: Behaviour = says("Hello", " world");
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      void this.#handle(request, response);
    });
  }

  static async start(): Promise<FakeProvider> {
    const provider = new FakeProvider();
    provider.#server.listen(0, "127.0.0.1");
    await once(provider.#server, "listening");
    return provider;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1`;
  }

  /** Forgets what it saw and was told. */
  reset(): void {
    this.requests.length = 0;
    this.next.length = 0;
    this.otherwise = says("Hello", " world");
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = "";
    for await (const part of request) {
      text += String(part);
    }
    const seen: SeenRequest = {
      path: request.url ?? "",
      key: (request.headers.authorization ?? "").replace("Bearer ", ""),
      body: JSON.parse(text) as Record<string, unknown>,
      aborted: false,
    };
    this.requests.push(seen);
    response.once("close", () => {
      seen.aborted = !response.writableFinished;
    });
    await (this.next.shift() ?? this.otherwise)(response);
  }
}
