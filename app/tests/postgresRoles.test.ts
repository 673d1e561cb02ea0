/** The scripts that make the roles on the stack's own server and keep their passwords those that are mounted. */
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { asRole, asSuperuser, Postgres } from "./support/postgres.ts";
import { eventually, run, type Running, start, stop } from "./support/processes.ts";
import { copyScripts, mountPasswords, writesEverythingDown } from "./support/roleScripts.ts";

let postgres: Postgres;
let directory: string;
let keeper: Running | undefined;
let env: NodeJS.ProcessEnv;
beforeAll(async () => {
  postgres = await Postgres.create({
    empty: true,
    settings: [...writesEverythingDown, "lock_timeout=200ms"],
  });
  directory = await copyScripts(["patroni"], (here) => ({
    "/etc/groundwork/patroni": here,
    "--host=/run/patroni": "--host=127.0.0.1",
    "/run/patroni/": `${here}/run-`,
    "sleep 5": "sleep 0.2",
  }));
  for (const name of ["tls.pem", "run-tls.pem"]) {
    await writeFile(join(directory, name), "chain and key");
  }
  const { port, password } = postgres.address;
  env = { ...process.env, PGPORT: String(port), PGPASSWORD: password, PGSSLMODE: "disable" };
});
afterAll(async () => {
  if (keeper) await stop(keeper, "SIGTERM");
  await postgres.remove();
  await rm(directory, { recursive: true });
});

const signIn = (user: string, password: string) =>
  asRole({ ...postgres.address, password }, "app", user, async (client) => {
    const { rows } = await client.query<{ is: string }>("select current_user as is");
    return rows[0]?.is;
  });
const refused = (user: string, password: string) =>
  expect(signIn(user, password)).rejects.toThrow(/password authentication failed/);

/** All that the server has written down of its statements. */
async function written(): Promise<string> {
  const { rows } = await asSuperuser(postgres.address, "app", (client) =>
    client.query<{ query: string }>("select query from pg_stat_statements"),
  );
  return [postgres.log(), ...rows.map(({ query }) => query)].join("\n");
}

describe("the roles of the stack's own server", () => {
  const [first, second, third, fourth] = ["FirstPassword1", "SecondPassword2", "ThirdPassword3", "Fourth4"];

  it("sign in by the passwords that are mounted when the cluster is made", async () => {
    await mountPasswords(directory, first);
    const { port } = postgres.address;
    await run(
      "sh",
      [join(directory, "post-bootstrap.sh"), `postgres://postgres@127.0.0.1:${port}/postgres`],
      {
        env,
      },
    );
    for (const role of ["app_owner", "app_user", "app_readonly", "app_backup", "app_monitoring"])
      expect(await signIn(role, first)).toBe(role);
    await refused("app_user_2", first);
  });

  it("take a second password beside the first, then that one alone", async () => {
    keeper = start("sh", [join(directory, "keep.sh")], { env });
    await mountPasswords(directory, first, second);
    expect(await eventually(() => signIn("app_user_2", second))).toBe("app_user");
    expect(await signIn("app_user", first)).toBe("app_user");
    await mountPasswords(directory, undefined, second);
    await eventually(() => refused("app_backup", first));
    expect(await signIn("app_user_2", second)).toBe("app_user");
  });

  it("leave no trace of a password where the server refuses it, and take it afterwards", async () => {
    await asSuperuser(postgres.address, "postgres", async (client) => {
      await client.query("begin; lock table pg_authid in share mode");
      await mountPasswords(directory, third, second);
      await eventually(() => {
        expect(keeper?.stderr()).toMatch(/lock timeout/);
      });
    });
    expect(await eventually(() => signIn("app_user", third))).toBe("app_user");
    const traces = await written();
    expect(traces).toMatch(/canceling statement due to lock timeout/);
    for (const password of [first, second, third]) expect(traces).not.toContain(password);
    expect(traces).not.toContain("SCRAM-SHA-256$");
  });

  it("stay as they are while no verifiers can be made", async () => {
    await writeFile(join(directory, "verifiers.py"), "raise SystemExit('no verifiers')\n");
    await mountPasswords(directory, fourth);
    await eventually(() => {
      expect(keeper?.stderr()).toMatch(/no verifiers[^]*invalid input syntax for type json/);
    });
    expect(await signIn("app_user", third)).toBe("app_user");
    expect(await signIn("app_user_2", second)).toBe("app_user");
  });
});
