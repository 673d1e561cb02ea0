import { z } from "zod";
import type { ZodOpenApiPathsObject } from "zod-openapi";
import { userListQuery } from "./routes.ts";
import { userChange, userInput, userPath, userView } from "./user.ts";

const json = <T>(schema: T) => ({ content: { "application/json": { schema } } });
const list = z.object({ items: z.array(userView), nextCursor: z.string().nullable() });

export const userPaths: ZodOpenApiPathsObject = {
  "/api/v2/admin/users": {
    get: {
      summary: "List the tenant's users by name",
      requestParams: { query: userListQuery },
      responses: { "200": { description: "A page of users", ...json(list) } },
    },
    post: {
      summary: "Create a user with a password",
      requestBody: json(userInput),
      responses: { "201": { description: "The user", ...json(userView) } },
    },
  },
  "/api/v2/admin/users/{id}": {
    patch: {
      summary: "Change a user's role or password, disable or enable them",
      description:
        "Disabling, or a new password, ends the user's sign-ins. Access tokens last for their 15 minutes.",
      requestParams: { path: userPath },
      requestBody: json(userChange),
      responses: { "200": { description: "The user", ...json(userView) } },
    },
  },
  "/api/v2/admin/users/{id}/sessions": {
    delete: {
      summary: "End all of a user's sign-ins",
      requestParams: { path: userPath },
      responses: { "204": { description: "Done" } },
    },
  },
};
