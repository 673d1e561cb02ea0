import { EventEmitter, once } from "node:events";
import { cancelled, type ChatEvent, interrupted, isLast, type NewChatEvent } from "./chat.ts";

/**
 * An answer being made: its events so far, for any number of readers, each at its own pace. Held whole until shortly
 * after its end (the language model bounds its length), so that a slow reader costs nothing more and a reader who was
 * cut off can go on where it stopped.
 */
export class Answer {
  readonly id: string;
  readonly #events: ChatEvent[] = [];
  readonly #changed = new EventEmitter();
  readonly #abort = new AbortController();
  readonly #graceMs: number;
  readonly #wantedElsewhere: () => Promise<boolean>;
  #readers = 0;
  #lastWord = interrupted;
  #grace: NodeJS.Timeout | undefined;

  /** Without a reader here or elsewhere for `graceMs` it is cancelled. */
  constructor(id: string, graceMs: number, wantedElsewhere: () => Promise<boolean>) {
    this.id = id;
    this.#graceMs = graceMs;
    this.#wantedElsewhere = wantedElsewhere;
    this.#changed.setMaxListeners(0);
    this.#expectReader();
  }

  /** Aborted when nobody wants the answer any more. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** The last event of an answer that did not come to its end. */
  get lastWord(): NewChatEvent {
    return this.#lastWord;
  }

  get ended(): boolean {
    const last = this.#events.at(-1);
    return last !== undefined && isLast(last);
  }

  append(event: NewChatEvent): void {
    this.#events.push({ ...event, id: this.#events.length + 1 });
    if (isLast(event)) {
      clearTimeout(this.#grace);
    }
    this.#changed.emit("event");
  }

  /** Gives the answer up; `lastWord` is what its readers are told. */
  cancel(lastWord: NewChatEvent = cancelled): void {
    this.#lastWord = lastWord;
    clearTimeout(this.#grace);
    this.#abort.abort();
  }

  /** What there is after the event with this id. */
  eventsAfter(id: number): readonly ChatEvent[] {
    return this.#events.slice(id);
  }

  /** The events after the one with this id, those there are and those to come, until the last or an abort. */
  async *read(after: number, signal: AbortSignal): AsyncGenerator<ChatEvent> {
    this.#readers++;
    clearTimeout(this.#grace);
    try {
      for (let next = after; !signal.aborted;) {
        const event = this.#events[next];
        if (event) {
          next++;
          yield event;
        } else if (this.ended) {
          return;
        } else {
          await this.changed(signal);
        }
      }
    } finally {
      this.#readers--;
      this.#expectReader();
    }
  }

  /** Resolves at the next event, or when the signal says so. */
  async changed(signal: AbortSignal): Promise<void> {
    try {
      await once(this.#changed, "event", { signal });
    } catch {
      // Aborted: whoever asked looks at the signal.
    }
  }

  #expectReader(): void {
    if (this.#readers > 0 || this.ended) {
      return;
    }
    clearTimeout(this.#grace);
    this.#grace = setTimeout(() => {
      void this.#wantedElsewhere().then((wanted) => {
        if (wanted) {
          this.#expectReader();
        } else if (this.#readers === 0) {
          this.cancel();
        }
      });
    }, this.#graceMs).unref();
  }
}
