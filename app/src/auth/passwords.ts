import { argon2id, hash, verify } from "argon2";
import { bulkhead, isBulkheadRejectedError } from "cockatiel";
import { Unavailable } from "../http/problem.ts";

/** OWASP's password storage cheat sheet: 19 MiB, 2 passes, 1 lane. */
const parameters = { type: argon2id, memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;
/** Each takes 19 MiB and one of libuv's four threads, which files and name look-ups need, too. */
const atOnce = 2;
/** About a second's work; who comes later is told to come back instead of waiting past their patience. */
const waiting = 50;

/** Hashes and checks passwords with Argon2id, few at once: a storm of sign-ins waits instead of eating the memory. */
export class Passwords {
  readonly #turns = bulkhead(atOnce, waiting);
  #dummyHash: Promise<string> | undefined;

  /** @throws Unavailable when too many are waiting. */
  async hash(password: string): Promise<string> {
    return this.#inTurn(() => hash(password, parameters));
  }

  /** Without a hash (no such user) it works as long as with one, and says no. @throws as `hash`. */
  async verify(storedHash: string | null | undefined, password: string): Promise<boolean> {
    this.#dummyHash ??= hash("nobody's password", parameters).catch((error: unknown) => {
      this.#dummyHash = undefined;
      throw error;
    });
    const dummyHash = await this.#dummyHash;
    const matches = await this.#inTurn(() => verify(storedHash ?? dummyHash, password));
    return matches && storedHash !== null && storedHash !== undefined;
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await this.#turns.execute(work);
    } catch (error) {
      throw isBulkheadRejectedError(error) ? new Unavailable("too many sign-ins at once", error) : error;
    }
  }
}
