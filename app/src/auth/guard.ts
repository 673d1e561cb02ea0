import { type Request, type RequestHandler, Router } from "express";
import { currentContext } from "../observability/context.ts";
import { forbidden, notFound, unauthorized } from "../http/problem.ts";
import type { Rule } from "./rules.ts";
import type { Principal, Tokens } from "./tokens.ts";

const principals = new WeakMap<Request, Principal>();

/** Who is asking. Only routes behind a rule with roles may call it. */
export function principalOf(request: Request): Principal {
  const principal = principals.get(request);
  if (!principal) {
    throw new Error("no principal: the route's rule is public");
  }
  return principal;
}

/** What else is asked of a caller who is known; rejects with the problem to answer. */
export type Admission = (principal: Principal, rule: Pick<Rule, "limit">) => Promise<void>;

/**
 * Lets a request on to the routes only if a rule allows it. The rules are matched by a router of their own, with the
 * same options as the routes, so that both always agree on what a path means; what no rule names is refused.
 */
export function guard(rules: readonly Rule[], tokens: Tokens, admit: Admission): RequestHandler {
  const router = Router();
  for (const rule of rules) {
    const { method, path, allow } = rule;
    router[method](path, async (request, _response, next) => {
      if (allow !== "public") {
        const principal = await tokens.verify(bearerToken(request.get("authorization")));
        principals.set(request, principal);
        currentContext().tenantId = principal.tenantId;
        if (!allow.includes(principal.role)) {
          throw forbidden(`the role ${principal.role} may not do this`);
        }
        await admit(principal, rule);
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

/** @throws a 401 problem when the header Authorization has no bearer token. */
export function bearerToken(header: string | undefined): string {
  const [, token] = /^Bearer ([\w.~+/-]+=*)$/i.exec(header ?? "") ?? [];
  if (token === undefined) {
    throw unauthorized("a bearer token is needed");
  }
  return token;
}
