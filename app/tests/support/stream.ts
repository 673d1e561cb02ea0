import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { type ClientOptions, WebSocket } from "ws";

export interface StreamEvent {
  id: number;
  type: string;
  data: Record<string, unknown>;
}

/** An open stream of Server-Sent Events, read only when asked: like a browser's, but as slow as a test wants. */
export interface EventStream {
  response: IncomingMessage;
  /** The next event; undefined at the end. */
  next(): Promise<StreamEvent | undefined>;
  rest(): Promise<StreamEvent[]>;
  /** Hangs up. */
  close(): void;
  comments: string[];
}

export async function openStream(
  url: string,
  token: string,
  options: { body?: unknown; headers?: Record<string, string> } = {},
): Promise<EventStream> {
  const sent = request(url, {
    method: options.body === undefined ? "GET" : "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json", ...options.headers },
    agent: false,
  });
  sent.on("error", () => undefined);
  sent.end(options.body === undefined ? undefined : JSON.stringify(options.body));
  const [response] = (await once(sent, "response")) as [IncomingMessage];
  const comments: string[] = [];
  const events = parse(response, comments);
  return {
    response,
    comments,
    async next() {
      const { value } = (await events.next()) as { value: StreamEvent | undefined };
      return value;
    },
    async rest() {
      const all: StreamEvent[] = [];
      for await (const event of events) {
        all.push(event);
      }
      return all;
    },
    close() {
      sent.destroy();
    },
  };
}

async function* parse(response: IncomingMessage, comments: string[]): AsyncGenerator<StreamEvent> {
  let text = "";
  for await (const chunk of response) {
    text += String(chunk);
    const blocks = text.split("\n\n");
    text = blocks.pop() ?? "";
    for (const block of blocks) {
      const field = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(block)?.[1] ?? "";
      if (block.startsWith(":")) {
        comments.push(block);
      } else {
        const data = JSON.parse(field("data")) as Record<string, unknown>;
        yield { id: Number(field("id")), type: field("event"), data };
      }
    }
  }
}

/** A WebSocket that keeps what it received. */
export class SocketClient {
  readonly socket: WebSocket;
  readonly frames: (StreamEvent & { answerId?: string })[] = [];
  readonly closed: Promise<[number, Buffer]>;
  readonly #opened: Promise<unknown>;

  constructor(url: string, options: ClientOptions = {}) {
    this.socket = new WebSocket(url.replace("http", "ws"), options);
    this.closed = once(this.socket, "close") as Promise<[number, Buffer]>;
    this.closed.catch(() => undefined);
    this.#opened = once(this.socket, "open");
    this.#opened.catch(() => undefined);
    this.socket.on("message", (data: Buffer) => {
      this.frames.push(JSON.parse(data.toString()) as StreamEvent);
    });
  }

  async send(...messages: object[]): Promise<void> {
    await this.#opened;
    for (const message of messages) {
      this.socket.send(JSON.stringify(message));
    }
  }

  /** The status with which the upgrade was refused. */
  async refusal(): Promise<number> {
    this.socket.on("error", () => undefined);
    const [, response] = (await once(this.socket, "unexpected-response")) as [unknown, IncomingMessage];
    response.resume();
    return response.statusCode ?? 0;
  }

  types(): string[] {
    return this.frames.map(({ type }) => type);
  }
}

export function textOf(events: readonly StreamEvent[]): string {
  return events
    .filter(({ type }) => type === "delta")
    .map(({ data }) => String(data["text"]))
    .join("");
}
