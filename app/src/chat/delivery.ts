import { Problem } from "../http/problem.ts";
import type { Metrics } from "../observability/metrics.ts";
import { cancelled, type ChatEvent, isLast } from "./chat.ts";

export const socketRoute = "/api/v2/chat/ws";

export interface DeliveryArgs {
  /** Aborted when the client is. */
  gone: AbortSignal;
  /** Resolves when the frame has left. */
  send: (frame: object) => Promise<void>;
  /** Called when an answer cannot be read to its end. */
  failed: () => void;
  metrics: Metrics;
}

/** An answer being given, from after an event that the client has. */
interface Reading {
  answerId: string;
  after: number;
  stop: AbortController;
}

/** Gives a client one answer at a time. */
export class Delivery {
  readonly #args: DeliveryArgs;
  #reading: Reading | undefined;

  constructor(args: DeliveryArgs) {
    this.#args = args;
  }

  /** Of the answer being given. */
  get answerId(): string | undefined {
    return this.#reading?.answerId;
  }

  /** @throws a 409 problem while an answer is being given. */
  refuseSecond(): void {
    if (this.#reading) {
      throw new Problem(409, { detail: "an answer is still being given: wait for its end, or cancel it" });
    }
  }

  /** Gives the events that `open` gets, in the background. @throws what `open` throws. */
  async begin(
    answerId: string,
    after: number,
    open: (signal: AbortSignal) => AsyncIterable<ChatEvent> | Promise<AsyncIterable<ChatEvent>>,
  ): Promise<void> {
    const { gone, failed, metrics } = this.#args;
    const stop = new AbortController();
    const events = await open(AbortSignal.any([gone, stop.signal]));
    const ended = metrics.streamStarted("websocket");
    const reading = { answerId, after, stop };
    this.#reading = reading;
    this.#forward(reading, events)
      .catch(failed)
      .finally(() => {
        this.#ended(reading);
        ended();
      });
  }

  /** Leaves the answer, wherever it is made; the client has a last word instead of the rest. */
  stop(): void {
    this.#reading?.stop.abort();
  }

  /** The client may have asked again meanwhile. */
  #ended(reading: Reading): void {
    if (this.#reading === reading) {
      this.#reading = undefined;
    }
  }

  /** Sends an answer's events, each when the one before has left: a slow client holds up only itself. */
  async #forward(reading: Reading, events: AsyncIterable<ChatEvent>): Promise<void> {
    const { send, metrics } = this.#args;
    const start = performance.now();
    let answered = false;
    for await (const event of untilStopped(reading, events)) {
      if (!answered && event.type !== "start") {
        answered = true;
        const status = event.type === "error" ? event.data.status : 200;
        metrics.requestAnswered("WS", socketRoute, status, (performance.now() - start) / 1000);
      }
      if (isLast(event)) {
        // The client may ask again as soon as it has this one.
        this.#ended(reading);
      }
      await send({ answerId: reading.answerId, ...event });
    }
  }
}

async function* untilStopped(
  { after, stop }: Reading,
  events: AsyncIterable<ChatEvent>,
): AsyncGenerator<ChatEvent> {
  let id = after;
  for await (const event of events) {
    id = event.id;
    yield event;
    if (isLast(event)) {
      return;
    }
  }
  if (stop.signal.aborted) {
    yield { ...cancelled, id: id + 1 };
  }
}
