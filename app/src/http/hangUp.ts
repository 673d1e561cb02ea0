import type { Duplex } from "node:stream";

/** Milliseconds for the last words to arrive: to close while the other side still sends would take them from it. */
const lingerMs = 1000;

/** Sends the last words and closes: a socket that is only ended stays open for as long as the other side likes. */
export function hangUp(socket: Duplex, lastWords: string): void {
  socket.end(lastWords);
  setTimeout(() => socket.destroy(), lingerMs).unref();
}
