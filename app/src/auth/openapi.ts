import type { ZodOpenApiPathsObject } from "zod-openapi";
import { userPaths } from "../users/openapi.ts";
import { meView, refreshInput, sessionView, signInInput, tokensView } from "./schemas.ts";

const json = <T>(schema: T) => ({ content: { "application/json": { schema } } });
const noContent = { "204": { description: "Done" } };

const refused = { "401": { description: "Tenant, user and password do not belong together" } };

export const paths: ZodOpenApiPathsObject = {
  "/api/v2/auth/sign-in": {
    post: {
      summary: "Sign in with a password",
      description:
        "Answers 401 alike for an unknown tenant or user and a wrong password, 429 after ten failures in 15 minutes.",
      security: [],
      requestBody: json(signInInput),
      responses: { "200": { description: "Tokens", ...json(tokensView) }, ...refused },
    },
  },
  "/api/v2/auth/refresh": {
    post: {
      summary: "Exchange a refresh token for new tokens",
      description:
        "A refresh token is good for one use. When one comes a second time, all of its sign-in end.",
      security: [],
      requestBody: json(refreshInput),
      responses: {
        "200": { description: "Tokens", ...json(tokensView) },
        "401": { description: "The refresh token is unknown, used, expired or revoked" },
      },
    },
  },
  "/api/v2/auth/sign-out": {
    post: {
      summary: "End the sign-in that a refresh token belongs to",
      security: [],
      requestBody: json(refreshInput),
      responses: noContent,
    },
  },
  "/api/v2/auth/session": {
    post: {
      summary: "Sign in for a session cookie, in an emergency",
      description: "Answers 404 unless the operators have switched it on.",
      security: [],
      requestBody: json(signInInput),
      responses: {
        "200": { description: "The session; its cookie is set", ...json(sessionView) },
        ...refused,
        "404": { description: "Not switched on" },
      },
    },
    delete: { summary: "End the session of the cookie", responses: noContent },
  },
  "/api/v2/auth/me": {
    get: { summary: "Who is asking", responses: { "200": { description: "The caller", ...json(meView) } } },
  },
  ...userPaths,
};
