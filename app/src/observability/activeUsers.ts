const windowMs = 5 * 60_000;
const mostUsers = 100_000;

/** Who was seen in the last five minutes. A Map keeps the order of insertion, so the first is always the oldest. */
export class ActiveUsers {
  readonly #lastSeen = new Map<string, number>();

  seen(user: string, now = performance.now()): void {
    this.#lastSeen.delete(user);
    this.#lastSeen.set(user, now);
    const [oldest] = this.#lastSeen.keys();
    if (this.#lastSeen.size > mostUsers && oldest !== undefined) {
      this.#lastSeen.delete(oldest);
    }
  }

  count(now = performance.now()): number {
    for (const [user, at] of this.#lastSeen) {
      if (at > now - windowMs) {
        break;
      }
      this.#lastSeen.delete(user);
    }
    return this.#lastSeen.size;
  }
}
