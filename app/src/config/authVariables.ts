import { z } from "zod";
import { roles } from "../auth/rules.ts";
import { tenantName } from "../db/tenants.ts";
import { readOrUndefined, secretFile, wholeNumber } from "./forms.ts";

const groupRolesForm = 'expected {"<group DN>":"admin|editor|viewer"} with at least one group';
const groupRoles = z
  .string()
  .transform((value, context) => {
    try {
      return JSON.parse(value) as unknown;
    } catch {
      context.addIssue(groupRolesForm);
      return z.NEVER;
    }
  })
  .pipe(z.record(z.string().min(1), z.enum(roles), { error: groupRolesForm }))
  .refine((groups) => Object.keys(groups).length > 0, groupRolesForm);

const issuerUrl = z
  .string()
  .regex(
    /^https:\/\/[^\s?#]+$|^http:\/\/(localhost|127\.0\.0\.1)(:\d+)?(\/[^\s?#]*)?$/,
    "expected https://host/path (http only on this machine)",
  );

/** What sign-in needs beyond the signing keys. All of it is optional: users with passwords are there without. */
export const authVariables = {
  FALLBACK_SIGN_IN_FILE: z.string().optional().meta({
    description:
      "File that switches the emergency sign-in (session cookie) on while it says `on`; read again each second",
  }),
  USER_SESSION_TTL_SECONDS: wholeNumber(60, 604_800)
    .default(28_800)
    .meta({ description: "Seconds that a session of the emergency sign-in lasts" }),
  LDAP_URL: z
    .string()
    .regex(/^ldaps?:\/\/[\w.-]+(:\d{1,5})?$/, "expected ldaps://host:port, or ldap://host:port with StartTLS")
    .optional()
    .meta({ description: "LDAP directory that checks passwords, by ldaps or by ldap with StartTLS" }),
  LDAP_CA_FILE: z
    .string()
    .refine((path) => readOrUndefined(path)?.includes("-----BEGIN CERTIFICATE-----"), "expected a PEM file")
    .optional()
    .meta({ description: "Certificates that the directory's must be signed by, instead of the system's" }),
  LDAP_TENANT: tenantName.optional().meta({
    description: "Name of the tenant whose users the directory has; no other's can sign in through it",
  }),
  LDAP_USER_DN: z
    .string()
    .includes("{username}", { error: "expected a DN with {username} in it" })
    .optional()
    .meta({
      description: "DN of users, as uid={username},ou=people,dc=example,dc=org; or set LDAP_SEARCH_BASE",
    }),
  LDAP_SEARCH_BASE: z
    .string()
    .optional()
    .meta({ description: "DN below which users are searched for, where LDAP_USER_DN will not do" }),
  LDAP_SEARCH_FILTER: z
    .string()
    .regex(/^\(.*\{username\}.*\)$/, "expected a filter with {username} in it")
    .default("(uid={username})")
    .meta({ description: "Filter that finds a user; Active Directory: (sAMAccountName={username})" }),
  LDAP_BIND_DN: z.string().optional().meta({
    description: "DN that searches users and reads groups; by default nobody searches and users read groups",
  }),
  LDAP_BIND_PASSWORD_FILE: secretFile
    .optional()
    .meta({ description: "File with the password of LDAP_BIND_DN, read again for every sign-in" }),
  LDAP_GROUP_ROLES: groupRoles
    .optional()
    .meta({ description: 'Group → role, as {"cn=admins,ou=groups,dc=example,dc=org":"admin"}' }),
  OIDC_ISSUER: issuerUrl.optional().meta({
    description: "OpenID Connect issuer whose bearer tokens are accepted, exactly as its tokens name it",
  }),
  OIDC_AUDIENCE: z.string().optional().meta({ description: "Audience that the issuer's tokens must name" }),
  OIDC_TENANT_CLAIM: z
    .string()
    .default("tenant")
    .meta({ description: "Claim of the issuer's tokens with the tenant's name" }),
  OIDC_ROLE_CLAIM: z
    .string()
    .default("role")
    .meta({ description: "Claim of the issuer's tokens with the role, or a list that has it" }),
};

type AuthVariables = z.infer<z.ZodObject<typeof authVariables>>;

/** What one variable alone does not show. */
export function checkAuth(env: AuthVariables, context: z.core.$RefinementCtx): void {
  const refuse = (variable: keyof AuthVariables, message: string) => {
    context.addIssue({ code: "custom", path: [variable], message });
  };
  if (env.LDAP_URL !== undefined) {
    if (env.LDAP_TENANT === undefined) {
      refuse("LDAP_TENANT", "expected with LDAP_URL");
    }
    if ((env.LDAP_USER_DN === undefined) === (env.LDAP_SEARCH_BASE === undefined)) {
      refuse("LDAP_USER_DN", "expected either this or LDAP_SEARCH_BASE with LDAP_URL");
    }
    if (env.LDAP_GROUP_ROLES === undefined) {
      refuse("LDAP_GROUP_ROLES", "expected with LDAP_URL: without a group nobody has a role");
    }
  }
  if ((env.LDAP_BIND_DN === undefined) !== (env.LDAP_BIND_PASSWORD_FILE === undefined)) {
    refuse("LDAP_BIND_PASSWORD_FILE", "expected together with LDAP_BIND_DN");
  }
  if ((env.OIDC_ISSUER === undefined) !== (env.OIDC_AUDIENCE === undefined)) {
    refuse("OIDC_AUDIENCE", "expected together with OIDC_ISSUER");
  }
}
