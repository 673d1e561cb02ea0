/** Work that must not be cut off half-way: it is told of a signal, puts right what it began, and ends by itself. */
import { setTimeout as sleep } from "node:timers/promises";
import { message, say, UserError } from "./system.ts";

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
/** How long, and how often, it is tried. */
const insistSeconds = 180;
const pauseSeconds = 5;

/** The first Ctrl-C, SIGTERM or closed terminal aborts what `work` is given; until `work` ends, a further one changes nothing. */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const aborter = new AbortController();
  const interrupt = (signal: NodeJS.Signals): void => {
    say(`${signal}: what was begun is put right first; this may take some minutes`);
    aborter.abort(new UserError(`it was interrupted (${signal})`));
  };
  // A terminal that was closed takes no line any more, which must not end the work either.
  const ignore = (): void => undefined;
  process.stderr.on("error", ignore);
  for (const signal of signals) process.on(signal, interrupt);
  try {
    return await work(aborter.signal);
  } finally {
    for (const signal of signals) process.off(signal, interrupt);
    process.stderr.off("error", ignore);
  }
}

/** Tries until it is done: the API server may be away for a moment, and a second Ctrl-C ends the program that is asked, too. */
export async function insist<T>(action: () => Promise<T>): Promise<T> {
  const deadline = Date.now() + insistSeconds * 1000;
  for (;;) {
    try {
      return await action();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      say(`this failed, and is tried again: ${message(error).split("\n")[0] ?? ""}`);
      await sleep(pauseSeconds * 1000);
    }
  }
}
