import { z } from "zod";
import { tenantName } from "../db/tenants.ts";
import { username } from "../users/user.ts";
import { roles } from "./rules.ts";

/** Lengths only: a sign-in says nothing about what passwords may look like. Empty is refused: LDAP takes that as anonymous. */
export const signInInput = z.strictObject({
  tenant: tenantName,
  username,
  password: z.string().min(1).max(256),
});
export type SignInInput = z.infer<typeof signInInput>;

export const refreshInput = z.strictObject({ refreshToken: z.string().min(1).max(200) });

export const tokensView = z.object({
  accessToken: z.string(),
  refreshToken: z.string(),
  expiresIn: z.number().meta({ description: "Seconds that the access token is good for" }),
  role: z.enum(roles),
});

export const sessionView = z.object({
  csrfToken: z
    .string()
    .meta({ description: "To be sent as X-CSRF-Token with every request that changes something" }),
  expiresIn: z.number().meta({ description: "Seconds that the session is good for" }),
  role: z.enum(roles),
});

export const meView = z.object({
  subject: z.string(),
  tenantId: z.uuid(),
  role: z.enum(roles),
  username: z
    .string()
    .nullable()
    .meta({ description: "Null for callers who are not in the tenant's list of users" }),
  email: z.string().nullable(),
  csrfToken: z.string().nullable().meta({ description: "Null unless signed in by a session cookie" }),
});
export type MeView = z.infer<typeof meView>;
