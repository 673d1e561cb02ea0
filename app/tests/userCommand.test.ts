import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { asSuperuser, newDatabase } from "./support/postgres.ts";
import { start } from "./support/processes.ts";
import { startTestService, type TestService } from "./support/service.ts";
import { trySignIn } from "./support/users.ts";

const postgres = inject("postgres");
const password = "the first admin's password";
let database: string;
let service: TestService;
beforeAll(async () => {
  database = await newDatabase(postgres);
  service = await startTestService(postgres, database, inject("redis"));
});
afterAll(() => service.stop());

async function userCommand(args: string[], input: string, env: Record<string, string> = {}) {
  const path = fileURLToPath(new URL("../src/cli/user.ts", import.meta.url));
  const running = start(process.execPath, [path, ...args], {
    stdio: ["pipe", "pipe", "pipe"],
    env: {
      // In every environment: production is the default.
      DATABASE_URL: `postgres://app_user@127.0.0.1:${postgres.port}/${database}`,
      DATABASE_PASSWORD_FILE: service.databaseConfig.passwordFile,
      ...env,
    },
  });
  running.child.stdin?.on("error", () => undefined);
  running.child.stdin?.end(input);
  return { code: await running.exited, stdout: running.stdout(), stderr: running.stderr() };
}

const named = (tenant: string, username: string) => ["--tenant", tenant, "--username", username];

describe("the user command", () => {
  it("creates the first admin of a tenant and the tenant, audited, and the admin can sign in", async () => {
    const { code, stdout, stderr } = await userCommand(named("acme", "Root"), `${password}\n`);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toBe("created: root is an admin of acme\n");
    const answer = await trySignIn(service, { tenant: "acme", username: "root", password });
    expect(answer).toMatchObject({ status: 200, body: { role: "admin" } });
    const { rows } = await asSuperuser(postgres, database, (client) =>
      client.query("select subject, action from audit_events where action = 'user.create'"),
    );
    expect(rows).toEqual([{ subject: "command line", action: "user.create" }]);
  });

  it("changes nobody who is there already", async () => {
    await userCommand(named("umbrella", "root"), password);
    const again = await userCommand(named("umbrella", "root"), "somebody else's password");
    expect(again).toMatchObject({ code: 1, stdout: "" });
    expect(again.stderr).toContain("has a user root already");
    expect((await trySignIn(service, { tenant: "umbrella", username: "root", password })).status).toBe(200);
  });

  it("explains what is wrong, and never repeats a password", async () => {
    const refusals = await Promise.all([
      userCommand([], password),
      userCommand(named("", "root"), password),
      userCommand(named("acme", "-root"), password),
      userCommand(named("acme", "other"), "hunter2\n"),
      userCommand([...named("acme", "other"), "--password", password], ""),
      userCommand(named("acme", "other"), password, { DATABASE_URL: "" }),
    ]);
    for (const { code, stdout, stderr } of refusals) {
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).not.toMatch(/hunter2|first admin/);
    }
    const [none, noTenant, badName, short, argument, unconfigured] = refusals.map(({ stderr }) => stderr);
    expect(none).toContain("usage:");
    expect(noTenant).toContain("--tenant");
    expect(badName).toContain("--username");
    expect(short).toContain("at least 12 characters");
    expect(argument).toContain("'--password'");
    expect(unconfigured).toContain("DATABASE_URL");
  });
});
