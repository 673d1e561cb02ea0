/** Work that runs beside other work. */
import { message, say } from "./system.ts";

type Work<T> = (signal: AbortSignal) => Promise<T>;

/**
 * Does both at once. When one fails, the other is told so by the signal, and waited for: what it has started, such as a daemon, is
 * not to outlive this process. @throws what failed first
 */
export async function together<A, B>(one: Work<A>, other: Work<B>): Promise<[A, B]> {
  const aborter = new AbortController();
  const failed = (error: unknown): never => {
    const [reason = ""] = message(error).split("\n");
    if (!aborter.signal.aborted) say(`${reason}\nWhat runs beside it is waited for; Ctrl-C cuts it off.`);
    aborter.abort(error);
    throw error;
  };
  const work = [one(aborter.signal).catch(failed), other(aborter.signal).catch(failed)] as const;
  await Promise.allSettled(work);
  aborter.signal.throwIfAborted();
  return Promise.all(work);
}
