import { randomUUID } from "node:crypto";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Role } from "../../src/auth/rules.ts";
import type { Answer, TestService } from "./service.ts";

/** A local user of a tenant that `newTenant` made. */
export interface TestUser {
  id: string;
  tenant: string;
  username: string;
  password: string;
}

export interface TokenPair {
  accessToken: string;
  refreshToken: string;
  expiresIn: number;
  role: Role;
}

const password = "correct horse battery";

export function newUserBody(role: Role) {
  return { username: `user-${randomUUID()}`, password, role };
}

export async function createUser(service: TestService, tenantId: string, role: Role): Promise<TestUser> {
  const body = newUserBody(role);
  const token = await service.token("admin", tenantId);
  const answer = await service.call("POST", "/api/v2/admin/users", { token, body });
  const { id } = answer.body as { id: string };
  return { id, tenant: `tenant ${tenantId}`, username: body.username, password };
}

export function signInBody({ tenant, username, password }: Omit<TestUser, "id">) {
  return { tenant, username, password };
}

export async function trySignIn(service: TestService, user: Omit<TestUser, "id">): Promise<Answer> {
  return service.call("POST", "/api/v2/auth/sign-in", { body: signInBody(user) });
}

export async function signIn(service: TestService, user: Omit<TestUser, "id">): Promise<TokenPair> {
  const { status, body } = await trySignIn(service, user);
  if (status !== 200) {
    throw new Error(`sign-in answered ${status}: ${JSON.stringify(body)}`);
  }
  return body as TokenPair;
}

export async function refresh(service: TestService, refreshToken: string): Promise<Answer> {
  return service.call("POST", "/api/v2/auth/refresh", { body: { refreshToken } });
}

/** The file that switches the emergency sign-in. */
export async function switchFile(content: string): Promise<string> {
  const file = join(await mkdtemp(join(tmpdir(), "groundwork-switch-")), "fallback");
  await writeFile(file, content);
  return file;
}

interface AuditEvent {
  action: string;
  outcome: string;
  subject: string;
  target: string | null;
  detail: Record<string, unknown>;
}

/** The tenant's newest audit events with this action. */
export async function auditOf(service: TestService, tenantId: string, action: string): Promise<AuditEvent[]> {
  const token = await service.token("admin", tenantId);
  const { body } = await service.call("GET", `/api/v2/admin/audit?action=${action}`, { token });
  return (body as { items: AuditEvent[] }).items;
}
