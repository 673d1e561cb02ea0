import { beforeAll, describe, expect, test } from "vitest";

import { readConfig } from "../../components/config.ts";
import { flows, stackFlows } from "../../components/flows.ts";
import { at, ofType, type Registered } from "./mocks.ts";
import { pods, prod } from "./prodStack.ts";

const existing = { host: "postgres.example.com", port: 6432, admin: "platform" };

describe("a stack on a Postgres that somebody else runs", () => {
  let resources: Registered[];
  const environment = (workload: string): Record<string, unknown> => {
    const spec = pods(resources).find(({ name }) => name === workload)?.spec;
    const env = (spec?.containers[0] as { env?: { name: string; value: unknown }[] } | undefined)?.env ?? [];
    return Object.fromEntries(env.map(({ name, value }) => [name, value]));
  };
  beforeAll(async () => {
    resources = await prod({ "groundwork:postgres": { kind: "existing", existing, maxConnections: 600 } });
  }, 60_000);

  test("runs no server of its own and makes none", () => {
    expect(ofType(resources, ":StatefulSet").map(({ name }) => name)).not.toContain("postgres");
    expect(resources.filter(({ type }) => type.includes("dbforpostgresql"))).toEqual([]);
  });

  test("makes database and roles there as the role that it is given, and checks the server's name", () => {
    expect(environment("postgres-roles")).toMatchObject({
      PGHOST: "postgres.example.com",
      PGPORT: "6432",
      PGUSER: "platform",
      PGSSLMODE: "verify-full",
      PGSSLROOTCERT: "/run/secrets/groundwork/ca.crt",
    });
    const classes = resources.find(({ name }) => name === "postgres-roles-secrets");
    const objects = String(at(classes, "spec.parameters.objects"));
    expect(objects).toContain("objectName: postgres-admin-password");
    expect(objects).toContain("objectName: postgres-ca");
    // The stack never sees what people have put into the vault.
    const kept = ofType(resources, "keyvault:Secret").map(({ name }) => name);
    expect(kept).toContain("app-user-password");
    expect(kept).not.toContain("postgres-admin-password");
  });

  test.each([
    ["app", "app_user"],
    ["app-migrate", "app_owner"],
    ["worker", "app_user"],
  ])("sends %s there as %s", (workload, role) => {
    expect(environment(workload)["DATABASE_URL"]).toBe(`postgres://${role}@postgres.example.com:6432/app`);
  });

  test("has its figures read and dumps made", () => {
    expect(environment("postgres-exporter")["DATA_SOURCE_URI"]).toContain(
      "postgres.example.com:6432/app?sslmode=verify-full",
    );
    expect(environment("backup-hourly")).toMatchObject({
      PGHOST: "postgres.example.com",
      PGUSER: "app_backup",
    });
  });
});

test.each([
  ["existing", { existing }],
  ["managed", { storageGiB: 64 }],
])(
  "passwords of a server of the kind %s are rotated, too: its roles are made anew",
  async (kind, more) => {
    const job = async (passwords: number[]) => {
      const settings = { kind, ...more, passwords, maxConnections: 600 };
      const found = (await prod({ "groundwork:postgres": settings })).filter(({ type }) =>
        /:(Job|Deployment)$/.test(type),
      );
      const roles = found.find(({ name }) => name === "postgres-roles");
      return {
        name: at(roles, "metadata.name"),
        app: JSON.stringify(found.find(({ name }) => name === "app")),
      };
    };
    const [before, after] = [await job([1, 2]), await job([2])];
    expect(before.app).toContain("postgres://app_user@");
    expect(after.app).toContain("postgres://app_user_2@");
    expect(after.name).not.toBe(before.name);
  },
  120_000,
);

test("who spoke to Postgres may speak to that port anywhere, and nobody else", () => {
  const { flows: allowed, workloads } = stackFlows("existing", "cluster", flows, 6432);
  const callers = allowed.filter(({ port }) => port === 6432);
  // Base backups are made of servers of our own only, and only theirs are the certificates and figures that are looked at.
  const ofOurOwn = ["postgres", "backup-base", "prometheus", "prober"];
  const before = flows.filter(({ from, to }) => to === "postgres" && !ofOurOwn.includes(from));
  expect(callers.map(({ from }) => from).sort()).toEqual(
    [...new Set(before.map(({ from }) => from)), "postgres-exporter", "postgres-roles"].sort(),
  );
  expect(new Set(callers.map(({ to }) => to))).toEqual(new Set(["internet"]));
  expect(Object.keys(workloads)).not.toContain("postgres");
});

test.each<[object, RegExp]>([
  [{ kind: "existing" }, /postgres\.existing: missing; kind: existing needs host and admin/],
  [{ existing }, /postgres\.existing: has no effect with postgres\.kind: cluster/],
  [
    { kind: "existing", existing: { ...existing, admin: "Robert'); --" } },
    /admin: must be the name of a role/,
  ],
  [{ kind: "existing", existing }, /groundwork:postgresAdminPassword: missing/],
  [{ kind: "existing", existing }, /groundwork:postgresCa: missing/],
])("%j is refused", (postgres, message) => {
  const settings = { "groundwork:postgres": JSON.stringify(postgres), "groundwork:secrets": "{}" };
  expect(readConfig(settings, new Set()).problems.join("\n")).toMatch(message);
});

test("needs no certificate of a server of its own", () => {
  const postgres = { kind: "existing", existing };
  const settings = { "groundwork:postgres": JSON.stringify(postgres), "groundwork:secrets": "{}" };
  expect(readConfig(settings, new Set()).problems.join("\n")).not.toMatch(/postgresTls|members/);
});
