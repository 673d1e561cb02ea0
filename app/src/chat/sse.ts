import { once } from "node:events";
import type { Response } from "express";
import { firstByteSent } from "../http/observe.ts";
import type { Metrics } from "../observability/metrics.ts";
import type { ChatEvent } from "./chat.ts";

/** A reader who takes nothing for so long is let go: it holds a connection. */
const slowestReaderMs = 30_000;

interface SendOptions {
  heartbeatSeconds: number;
  metrics: Metrics;
  /** Aborted when the reader is gone. */
  signal: AbortSignal;
}

/** Aborts when the connection is closed, by either side; at once when it is already. */
export function closedSignal(response: Response): AbortSignal {
  const closed = new AbortController();
  response.once("close", () => {
    closed.abort();
  });
  // While it was looked at who asks, say: no event tells of that any more.
  if (response.destroyed) {
    closed.abort();
  }
  return closed.signal;
}

/** Sends events as Server-Sent Events, no faster than the reader takes them, with signs of life in between. */
export async function sendEvents(
  response: Response,
  events: AsyncIterable<ChatEvent>,
  { heartbeatSeconds, metrics, signal }: SendOptions,
): Promise<void> {
  const ended = metrics.streamStarted("sse");
  response.set({ "Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no" });
  response.flushHeaders();
  const heartbeat = setInterval(() => {
    if (!response.writableNeedDrain) {
      response.write(": alive\n\n");
    }
  }, heartbeatSeconds * 1000);
  try {
    for await (const { id, type, data } of events) {
      if (type !== "start") {
        firstByteSent(response);
      }
      if (!response.write(`id: ${id}\nevent: ${type}\ndata: ${JSON.stringify(data)}\n\n`)) {
        await once(response, "drain", {
          signal: AbortSignal.any([signal, AbortSignal.timeout(slowestReaderMs)]),
        });
      }
    }
    response.end();
  } catch (error) {
    if (!signal.aborted) {
      response.destroy(error instanceof Error ? error : undefined);
    }
  } finally {
    clearInterval(heartbeat);
    ended();
  }
}
