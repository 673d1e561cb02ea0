import { z } from "zod";
import { roles } from "../auth/rules.ts";

/**
 * ASCII and lower case only: directories match names loosely (case, width, accents), and whoever is disabled as `ana`
 * must not come back as a second user `Ána`.
 */
export const username = z
  .string()
  .trim()
  .toLowerCase()
  .regex(/^[a-z0-9][a-z0-9._@+-]{0,99}$/, "expected up to 100 letters a to z, digits and . _ @ + -");

/** A password that is being set. Length is what counts; its upper bound keeps hashing cheap. */
export const newPassword = z
  .string()
  .min(12, "expected at least 12 characters")
  .max(256, "expected at most 256 characters");

export const userInput = z.strictObject({
  username,
  password: newPassword,
  role: z.enum(roles),
  email: z.email().max(254).optional(),
});

export const userChange = z
  .strictObject({
    role: z.enum(roles).optional(),
    disabled: z.boolean().optional(),
    password: newPassword.optional(),
  })
  .refine((change) => Object.keys(change).length > 0, "expected at least one of role, disabled, password");
export type UserChange = z.infer<typeof userChange>;

/** A user as admins see one: never with the password's hash. */
export const userView = z.object({
  id: z.uuid(),
  username: z.string(),
  source: z.enum(["local", "ldap"]),
  role: z.enum(roles),
  email: z.string().nullable(),
  disabledAt: z.string().nullable(),
  createdAt: z.string(),
  updatedAt: z.string(),
});
export type UserView = z.infer<typeof userView>;

export const userPath = z.object({ id: z.uuid() });

/** Whether a token's subject is a user of ours: subjects of tokens from elsewhere are no ids of users. */
export function isUserId(subject: string): boolean {
  return z.uuid().safeParse(subject).success;
}
