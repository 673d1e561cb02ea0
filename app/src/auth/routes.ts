import { Router } from "express";
import { audit } from "../audit/audit.ts";
import type { Database } from "../db/database.ts";
import { notFound, unauthorized, validated } from "../http/problem.ts";
import type { UserRepository } from "../users/repository.ts";
import { isUserId } from "../users/user.ts";
import { principalOf, sessionOf } from "./guard.ts";
import type { Refusals } from "./refusals.ts";
import type { RefreshTokens } from "./refreshTokens.ts";
import { type MeView, refreshInput, signInInput } from "./schemas.ts";
import { sessionCookie, sessionCookieOptions, type Sessions } from "./sessions.ts";
import type { SignIn } from "./signIn.ts";
import { accessTokenSeconds, type Tokens } from "./tokens.ts";

interface AuthRoutesArgs {
  database: Database;
  signIn: SignIn;
  tokens: Tokens;
  refreshTokens: RefreshTokens;
  sessions: Sessions;
  refusals: Refusals;
  users: UserRepository;
}

/** `/api/v2/auth`. */
export function authRoutes({
  database,
  signIn,
  tokens,
  refreshTokens,
  sessions,
  refusals,
  users,
}: AuthRoutesArgs): Router {
  const router = Router();

  router.post("/api/v2/auth/sign-in", async (request, response) => {
    const input = validated(signInInput, request.body);
    const answer = await signIn.signIn(input, "token", async (client, principal) => ({
      accessToken: await tokens.sign(principal),
      refreshToken: await refreshTokens.issue(client, principal.tenantId, principal.subject),
      expiresIn: accessTokenSeconds,
      role: principal.role,
    }));
    response.json(answer);
  });

  router.post("/api/v2/auth/refresh", async (request, response) => {
    const { refreshToken: used } = validated(refreshInput, request.body);
    const rotated = await refreshTokens.rotate(used, (principal) => tokens.sign(principal));
    if (!rotated) {
      await refusals.record("bad_refresh_token");
      throw unauthorized("the refresh token is not valid, sign in again");
    }
    const { user, accessToken, refreshToken } = rotated;
    response.json({ accessToken, refreshToken, expiresIn: accessTokenSeconds, role: user.role });
  });

  // Whoever has the refresh token may end what it stands for, also when their access token has expired.
  router.post("/api/v2/auth/sign-out", async (request, response) => {
    await refreshTokens.signOut(validated(refreshInput, request.body).refreshToken);
    response.status(204).end();
  });

  // The emergency sign-in: works without the signing keys, and is there only while it is switched on.
  router.post("/api/v2/auth/session", async (request, response) => {
    if (!(await sessions.isOn())) {
      throw notFound();
    }
    const input = validated(signInInput, request.body);
    const session = await signIn.signIn(input, "session", (_client, principal) => sessions.begin(principal));
    response.cookie(sessionCookie, session.cookie, {
      ...sessionCookieOptions,
      maxAge: sessions.ttlSeconds * 1000,
    });
    const { csrfToken, principal } = session;
    response.json({ csrfToken, expiresIn: sessions.ttlSeconds, role: principal.role });
  });

  router.delete("/api/v2/auth/session", async (request, response) => {
    const session = sessionOf(request);
    if (session) {
      const { subject, tenantId } = session.principal;
      // First: nobody stays signed in because it cannot be written down.
      await sessions.end(session);
      await database.asTenant(tenantId, async (client) => {
        await audit(client, {
          subject,
          action: "session.sign_out",
          target: `user/${subject}`,
          detail: { kind: "session" },
        });
      });
    }
    response.clearCookie(sessionCookie, sessionCookieOptions).status(204).end();
  });

  router.get("/api/v2/auth/me", async (request, response) => {
    const { subject, tenantId, role } = principalOf(request);
    const user = isUserId(subject) ? await users.get(tenantId, subject) : undefined;
    const me: MeView = {
      subject,
      tenantId,
      role,
      username: user?.username ?? null,
      email: user?.email ?? null,
      csrfToken: sessionOf(request)?.csrfToken ?? null,
    };
    response.json(me);
  });

  return router;
}
