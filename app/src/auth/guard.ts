import { type Request, type RequestHandler, Router } from "express";
import { forbidden, notFound, Problem, unauthorized } from "../http/problem.ts";
import { currentContext } from "../observability/context.ts";
import type { RefusalReason, Refusals } from "./refusals.ts";
import type { Rule } from "./rules.ts";
import { csrfHeader, sameCsrfToken, type Session, type Sessions } from "./sessions.ts";
import type { Principal, Tokens } from "./tokens.ts";

const principals = new WeakMap<Request, Principal>();
const sessionsOfRequests = new WeakMap<Request, Session>();

/** Who is asking. Only routes behind a rule with roles may call it. */
export function principalOf(request: Request): Principal {
  const principal = principals.get(request);
  if (!principal) {
    throw new Error("no principal: the route's rule is public");
  }
  return principal;
}

/** The session that the request was let on by; undefined when that was a token. */
export function sessionOf(request: Request): Session | undefined {
  return sessionsOfRequests.get(request);
}

interface GuardArgs {
  tokens: Tokens;
  sessions: Sessions;
  refusals: Refusals;
  admit: Admission;
}

/** What else is asked of a caller who is known; rejects with the problem to answer. */
export type Admission = (principal: Principal, rule: Pick<Rule, "limit">) => Promise<void>;

/**
 * Lets a request on to the routes only if a rule allows it. The rules are matched by a router of their own, with the
 * same options as the routes, so that both always agree on what a path means; what no rule names is refused.
 */
export function guard(
  rules: readonly Rule[],
  { tokens, sessions, refusals, admit }: GuardArgs,
): RequestHandler {
  async function authenticate(request: Request): Promise<Principal> {
    const authorization = request.get("authorization");
    // Whoever sends a token means it: a cookie, which browsers send unasked, never stands in for one that is bad.
    const session = authorization === undefined ? await sessions.find(request.get("cookie")) : undefined;
    if (session) {
      sessionsOfRequests.set(request, session);
      return session.principal;
    }
    const token = bearerToken(authorization);
    if (token === undefined) {
      await refusals.record("no_credentials");
      throw unauthorized("a bearer token is needed");
    }
    return verified(token, { tokens, refusals });
  }

  function reasonToRefuse(request: Request, principal: Principal, rule: Rule): RefusalReason | undefined {
    const session = sessionOf(request);
    const changes = !["GET", "HEAD"].includes(request.method);
    if (session && changes && !sameCsrfToken(session, request.get(csrfHeader))) {
      return "csrf";
    }
    return rule.allow.includes(principal.role) ? undefined : "role";
  }

  const router = Router();
  for (const rule of rules) {
    router[rule.method](rule.path, async (request, _response, next) => {
      if (rule.allow !== "public") {
        const principal = await authenticate(request);
        principals.set(request, principal);
        currentContext().tenantId = principal.tenantId;
        // Also of what is refused: each refusal is a row of the audit log.
        await admit(principal, rule);
        const reason = reasonToRefuse(request, principal, rule);
        if (reason !== undefined) {
          await refusals.record(reason, { principal, method: request.method, route: rule.path });
          throw forbidden(
            reason === "csrf"
              ? `with a session cookie, ${csrfHeader} must have the session's token`
              : `the role ${principal.role} may not do this`,
          );
        }
      }
      next("router");
    });
  }
  router.use(() => {
    throw notFound();
  });
  return (request, response, next) => {
    router(request, response, next);
  };
}

/** Whom the token names; a bad one is counted. @throws as `Tokens.verify`. */
export async function verified(
  token: string,
  { tokens, refusals }: Pick<GuardArgs, "tokens" | "refusals">,
): Promise<Principal> {
  try {
    return await tokens.verify(token);
  } catch (error) {
    if (error instanceof Problem && error.status === 401) {
      await refusals.record("bad_token");
    }
    throw error;
  }
}

/** The token in the header Authorization; undefined when there is none. */
export function bearerToken(header: string | undefined): string | undefined {
  return /^Bearer ([\w.~+/-]+=*)$/i.exec(header ?? "")?.[1];
}
