import { passwordFiles, rotatedPassword, type Password } from "./passwords.ts";
import type { SecretStore, StoredSecret } from "./secrets/secretStore.ts";

/** Signs in to the database as one of its roles. */
export interface DatabaseUser {
  /** By every second password it is the role's deputy who signs in, and acts as the role (`logins.sql`). */
  readonly role: string;
  readonly password: Password;
}

export type DatabaseUsers = Readonly<Record<"owner" | "app" | "readonly" | "backup", DatabaseUser>>;

/** Those whose passwords are rotated, with the generations that are valid. */
export function databaseUsers(secrets: SecretStore, generations?: readonly number[]): DatabaseUsers {
  const user = (role: string): DatabaseUser => {
    const name = `${role.replace("_", "-")}-password`;
    const password = rotatedPassword((kept) => secrets.generate(kept), name, generations);
    return { role: role + (password.suffix ?? "").replace("-", "_"), password };
  };
  return {
    owner: user("app_owner"),
    app: user("app_user"),
    readonly: user("app_readonly"),
    backup: user("app_backup"),
  };
}

/** Their passwords as `logins.sql` reads them. */
export function loginFiles(users: DatabaseUsers): Record<string, StoredSecret> {
  return Object.assign(
    {},
    ...Object.entries(users).map(([name, { password }]) => passwordFiles(`${name}-password`, password)),
  ) as Record<string, StoredSecret>;
}
