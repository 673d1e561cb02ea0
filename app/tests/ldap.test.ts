import { mkdtemp, readFile } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TLSSocket } from "node:tls";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { Directory, escapeDnValue } from "../src/auth/directory.ts";
import type { LdapConfig } from "../src/config/config.ts";
import { silentLogger } from "./support/logs.ts";
import { newDatabase } from "./support/postgres.ts";
import { newTenant, startTestService, type TestService } from "./support/service.ts";
import { groups, LdapServer, people, reader, selfSigned } from "./support/slapd.ts";
import { auditOf, createUser, refresh, signIn, trySignIn } from "./support/users.ts";

const password = "directory password";
const person = (uid: string) => `dn: uid=${escapeDnValue(uid)},${people}
objectClass: inetOrgPerson
uid: ${uid}
cn: ${uid}
sn: ${uid}
userPassword: ${password}
`;
const group = (cn: string, members: string[]) => `dn: cn=${cn},${groups}
objectClass: groupOfNames
cn: ${cn}
${members.map((uid) => `member: uid=${escapeDnValue(uid)},${people}`).join("\n")}
`;
const entries = [
  ...["ada", "eve", "vic", "bob+ops", "outsider", "leaver"].map(person),
  group("admins", ["ada"]),
  group("editors", ["ada", "eve", "bob+ops"]),
  `dn: cn=staff,${groups}\nobjectClass: posixGroup\ncn: staff\ngidNumber: 1\nmemberUid: vic\nmemberUid: leaver\n`,
].join("\n");
const groupRoles = {
  [`cn=gone,${groups}`]: "admin",
  [`cn=staff,${groups}`]: "viewer",
  [`cn=editors,${groups}`]: "editor",
  [`cn=admins,${groups}`]: "admin",
} as const;

const postgres = inject("postgres");
let server: LdapServer;
let searching: LdapConfig;
let database: string;
beforeAll(async () => {
  server = await LdapServer.create(entries);
  database = await newDatabase(postgres);
  searching = {
    url: server.ldapsUrl,
    caFile: server.caFile,
    tenant: "acme",
    user: { base: people, filter: "(uid={username})" },
    reader: { dn: reader.dn, passwordFile: server.readerPasswordFile },
    groupRoles,
  };
});
afterAll(() => server.remove());

const directory = (overrides: Partial<LdapConfig> = {}) =>
  new Directory({ ...searching, ...overrides }, silentLogger);

describe("the directory", () => {
  const byTemplate = { user: { dn: `uid={username},${people}` } };
  const ways: [string, () => Partial<LdapConfig>][] = [
    ["searching, by ldaps", () => ({})],
    ["searching, by StartTLS", () => ({ url: server.ldapUrl })],
    ["with a template of names, by ldaps", () => byTemplate],
    ["with a template of names, by StartTLS", () => ({ ...byTemplate, url: server.ldapUrl })],
  ];
  it.each(ways)(
    "%s gives people with the right password the highest role of their groups",
    async (_way, overrides) => {
      const ldap = directory(overrides());
      expect(await ldap.check("ada", password)).toEqual({ role: "admin" });
      expect(await ldap.check("eve", password)).toEqual({ role: "editor" });
      expect(await ldap.check("vic", password)).toEqual({ role: "viewer" });
      expect(await ldap.check("bob+ops", password)).toEqual({ role: "editor" });
      expect(await ldap.check("outsider", password)).toEqual({ role: undefined });
      expect(await ldap.check("ada", "wrong")).toBeUndefined();
      expect(await ldap.check("ada", "")).toBeUndefined();
      expect(await ldap.check("nobody", password)).toBeUndefined();
    },
  );

  it.each(["*", "ada)(uid=*", "a*", "*)(objectClass=*", "ada,ou=people", "\u0000", "ada\\"])(
    "takes the user name %j for a name and nothing else",
    async (username) => {
      for (const overrides of [{}, byTemplate]) {
        expect(await directory(overrides).check(username, password)).toBeUndefined();
      }
    },
  );

  it("is not asked anything when its certificate is another's, or its name is not in it", async () => {
    const other = await mkdtemp(join(tmpdir(), "groundwork-other-ca-"));
    const caFile = join(other, "certificate.pem");
    await selfSigned(other, caFile);
    for (const url of [server.ldapUrl, server.ldapsUrl]) {
      await expect(directory({ url, caFile }).check("ada", password)).rejects.toMatchObject({ status: 503 });
      await expect(directory({ url, caFile: undefined }).check("ada", password)).rejects.toMatchObject({
        status: 503,
      });
      const byAddress = url.replace("localhost", "127.0.0.1");
      await expect(directory({ url: byAddress }).check("ada", password)).rejects.toMatchObject({
        status: 503,
      });
    }
  });

  /** What a client says in the clear to a server that answers its first message, and how often it connects. */
  async function overheard(answer: string, afterwards: (socket: Socket) => void) {
    const heard = { text: "", connections: 0 };
    const impostor = createServer((socket) => {
      heard.connections++;
      socket.on("error", () => undefined);
      socket.on("data", (chunk) => (heard.text += chunk.toString("latin1")));
      socket.once("data", () => {
        socket.write(Buffer.from(answer, "hex"));
        afterwards(socket);
      });
    });
    await new Promise<void>((resolve) => impostor.listen(0, "127.0.0.1", resolve));
    const { port } = impostor.address() as { port: number };
    const ldap = directory({ url: `ldap://localhost:${port}` });
    await expect(ldap.check("ada", password)).rejects.toMatchObject({ status: 503 });
    impostor.close();
    return heard;
  }
  const secrets = new RegExp(`${password}|${reader.password}|ada`);

  it("that refuses StartTLS is told nothing in the clear", async () => {
    // An extended response: unavailable.
    const heard = await overheard("300c02010178070a013404000400", (socket) => socket.end());
    expect(heard.connections).toBe(1);
    expect(heard.text).toContain("1.3.6.1.4.1.1466.20037");
    expect(heard.text).not.toMatch(secrets);
  });

  it("that closes the connection after StartTLS is not connected to again in the clear", async () => {
    const [key, cert] = await Promise.all([readFile(server.keyFile), readFile(server.caFile)]);
    // Success, then TLS, then success to the first bind, then the end.
    const heard = await overheard("300c02010178070a010004000400", (socket) => {
      socket.removeAllListeners("data");
      const secured = new TLSSocket(socket, { isServer: true, key, cert });
      secured.on("error", () => undefined);
      secured.once("data", () => secured.end(Buffer.from("300c02010261070a010004000400", "hex")));
    });
    expect(heard.connections).toBe(1);
    expect(heard.text).not.toMatch(secrets);
  });

  it("with a reader of a wrong password is out of order: that is not the caller's fault", async () => {
    const ldap = directory({ reader: { dn: `uid=ada,${people}x`, passwordFile: server.readerPasswordFile } });
    await expect(ldap.check("ada", password)).rejects.toMatchObject({ status: 503 });
  });

  it("that hangs or is gone is given up in seconds", async () => {
    server.freeze();
    const start = performance.now();
    await expect(directory().check("ada", password)).rejects.toMatchObject({ status: 503 });
    expect(performance.now() - start).toBeLessThan(6000);
    server.thaw();
    await server.stop();
    await expect(directory().check("ada", password)).rejects.toMatchObject({ status: 503 });
    await server.start();
    expect(await directory().check("ada", password)).toEqual({ role: "admin" });
  });
});

describe("signing in through the directory", () => {
  let service: TestService;
  let tenant: string;
  beforeAll(async () => {
    tenant = await newTenant(postgres, database);
    service = await startTestService(postgres, database, inject("redis"), {
      ldap: { ...searching, tenant: `tenant ${tenant}` },
    });
  });
  afterAll(() => service.stop());

  const user = (username: string) => ({ tenant: `tenant ${tenant}`, username, password });
  const listed = async (username: string) => {
    const token = await service.token("admin", tenant);
    const { body } = await service.call("GET", "/api/v2/admin/users?limit=100", { token });
    return (body as { items: { id: string; username: string }[] }).items.filter(
      (item) => item.username === username,
    );
  };

  it("creates the user the first time, also when that is twice at once", async () => {
    const [first, second] = await Promise.all([signIn(service, user("eve")), signIn(service, user("eve"))]);
    expect([first.role, second.role]).toEqual(["editor", "editor"]);
    expect(await listed("eve")).toMatchObject([{ source: "ldap", role: "editor" }]);
    const created = await auditOf(service, tenant, "user.create");
    expect(created.filter(({ detail }) => detail["username"] === "eve")).toHaveLength(1);
    expect((await refresh(service, first.refreshToken)).status).toBe(200);
  });

  it("takes the role from the groups again each time", async () => {
    await signIn(service, user("vic"));
    const [vic] = await listed("vic");
    const token = await service.token("admin", tenant);
    const path = `/api/v2/admin/users/${vic?.id ?? ""}`;
    expect((await service.call("PATCH", path, { token, body: { role: "admin" } })).status).toBe(409);
    const moved = await startTestService(postgres, database, inject("redis"), {
      ldap: { ...searching, tenant: `tenant ${tenant}`, groupRoles: { [`cn=staff,${groups}`]: "editor" } },
    });
    expect((await signIn(moved, user("vic"))).role).toBe("editor");
    await moved.stop();
    expect(await auditOf(service, tenant, "user.change_role")).toContainEqual(
      expect.objectContaining({
        subject: "directory",
        detail: { username: "vic", from: "viewer", to: "editor" },
      }),
    );
  });

  it("is refused to whom an admin disabled, who has no group, or whose password is wrong", async () => {
    await signIn(service, user("leaver"));
    const [leaver] = await listed("leaver");
    const token = await service.token("admin", tenant);
    await service.call("PATCH", `/api/v2/admin/users/${leaver?.id ?? ""}`, {
      token,
      body: { disabled: true },
    });
    expect((await trySignIn(service, user("leaver"))).status).toBe(401);
    expect((await trySignIn(service, user("outsider"))).status).toBe(401);
    expect((await trySignIn(service, { ...user("eve"), password: "wrong" })).status).toBe(401);
    const reasons = (await auditOf(service, tenant, "session.sign_in")).map(({ detail }) => detail["reason"]);
    expect(reasons).toEqual(expect.arrayContaining(["disabled", "no_role", "wrong_password"]));
  });

  it("is for the directory's tenant only, and never for a local user's name", async () => {
    const other = await newTenant(postgres, database);
    expect((await trySignIn(service, { ...user("eve"), tenant: `tenant ${other}` })).status).toBe(401);
    const admin = await service.token("admin", tenant);
    const body = { username: "ada", password: "a local password", role: "viewer" };
    await service.call("POST", "/api/v2/admin/users", { token: admin, body });
    expect((await trySignIn(service, user("ada"))).status).toBe(401);
    expect((await signIn(service, { ...user("ada"), password: body.password })).role).toBe("viewer");
  });

  it("answers 503 while the directory is away, and local users still sign in", async () => {
    const local = await createUser(service, tenant, "admin");
    await server.stop();
    expect((await trySignIn(service, user("eve"))).status).toBe(503);
    expect((await trySignIn(service, local)).status).toBe(200);
    await server.start();
    expect((await trySignIn(service, user("eve"))).status).toBe(200);
  });
});
