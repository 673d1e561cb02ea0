import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import type { CookieOptions } from "express";
import type { Redis } from "ioredis";
import { z } from "zod";
import { Unavailable } from "../http/problem.ts";
import type { SwitchFile } from "../files/switchFile.ts";
import { roles } from "./rules.ts";
import type { Principal } from "./tokens.ts";

/** `__Host-`: browsers take it over TLS only, and no other host can set it. */
export const sessionCookie = "__Host-session";
export const sessionCookieOptions = {
  httpOnly: true,
  secure: true,
  sameSite: "strict",
  path: "/",
} as const satisfies CookieOptions;
/** The header that must accompany every request with a cookie that changes something. */
export const csrfHeader = "X-CSRF-Token";

export interface Session {
  principal: Principal;
  csrfToken: string;
  /** What the cookie holds. */
  cookie: string;
}

const stored = z.object({ tenantId: z.uuid(), role: z.enum(roles), expiresAt: z.number() });

/**
 * Sessions of the emergency sign-in, kept in the Redis that never evicts: the hash `user_session:{user id}` has one
 * field per session, so that all of a user's go in one command. Redis has only hashes of what the cookies hold, and
 * the CSRF token is derived from the cookie, which no script and no other site can read.
 */
export class Sessions {
  readonly #redis: Redis | undefined;
  readonly #fallback: SwitchFile;
  readonly ttlSeconds: number;

  constructor(redis: Redis | undefined, fallback: SwitchFile, ttlSeconds: number) {
    this.#redis = redis;
    this.#fallback = fallback;
    this.ttlSeconds = ttlSeconds;
  }

  async isOn(): Promise<boolean> {
    return (await this.#fallback.current()) === "on";
  }

  /** @throws Unavailable when Redis is away. */
  async begin({ subject, role, tenantId }: Principal): Promise<Session> {
    const secret = randomBytes(32).toString("base64url");
    const expiresAt = Date.now() + this.ttlSeconds * 1000;
    await this.#command(async (redis) => {
      const fields = await redis.hgetall(key(subject));
      const expired = Object.keys(fields).filter((field) => parse(fields[field]) === undefined);
      const change = redis
        .multi()
        .hset(key(subject), field(secret), JSON.stringify({ tenantId, role, expiresAt }))
        .expire(key(subject), this.ttlSeconds);
      await (expired.length > 0 ? change.hdel(key(subject), ...expired) : change).exec();
    });
    return {
      principal: { subject, role, tenantId },
      csrfToken: csrfTokenOf(secret),
      cookie: `${subject}.${secret}`,
    };
  }

  /** The session whose cookie the request brings, while the emergency sign-in is on. @throws as `begin`. */
  async find(cookieHeader: string | undefined): Promise<Session | undefined> {
    const [, cookie = "", subject = "", secret = ""] =
      /(?:^|;\s*)__Host-session=(([\da-f-]{36})\.([\w-]{43}))(?:;|$)/.exec(cookieHeader ?? "") ?? [];
    if (secret === "" || !(await this.isOn())) {
      return undefined;
    }
    const session = parse(await this.#command((redis) => redis.hget(key(subject), field(secret))));
    return (
      session && {
        principal: { subject, role: session.role, tenantId: session.tenantId },
        csrfToken: csrfTokenOf(secret),
        cookie,
      }
    );
  }

  async end({ principal: { subject }, cookie }: Session): Promise<void> {
    await this.#command((redis) => redis.hdel(key(subject), field(cookie.slice(subject.length + 1))));
  }

  /** Ends all of the user's sessions; without a Redis there are none. @throws as `begin`. */
  async endAll(userId: string): Promise<void> {
    if (this.#redis) {
      await this.#command((redis) => redis.del(key(userId)));
    }
  }

  async #command<T>(work: (redis: Redis) => Promise<T>): Promise<T> {
    if (!this.#redis) {
      throw new Unavailable("REDIS_QUEUE_URL is not set");
    }
    try {
      return await work(this.#redis);
    } catch (error) {
      throw new Unavailable("sessions cannot be reached", error);
    }
  }
}

export function sameCsrfToken(session: Session, given: string | undefined): boolean {
  const [ours, theirs] = [Buffer.from(session.csrfToken), Buffer.from(given ?? "")];
  return ours.length === theirs.length && timingSafeEqual(ours, theirs);
}

function parse(text: string | null | undefined): z.infer<typeof stored> | undefined {
  const session = typeof text === "string" ? stored.parse(JSON.parse(text)) : undefined;
  return session && session.expiresAt > Date.now() ? session : undefined;
}

function key(userId: string): string {
  return `user_session:${userId}`;
}

function field(secret: string): string {
  return createHash("sha256").update(secret).digest("base64url");
}

function csrfTokenOf(secret: string): string {
  return createHmac("sha256", secret).update("csrf").digest("base64url");
}
