import { mkdtemp, readFile } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TLSSocket } from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Directory } from "../src/auth/directory.ts";
import type { LdapConfig } from "../src/config/settings.ts";
import { silentLogger } from "./support/logs.ts";
import { entries, groupRoles, password } from "./support/people.ts";
import { LdapServer, people, reader, selfSigned } from "./support/slapd.ts";

let server: LdapServer;
let searching: LdapConfig;
beforeAll(async () => {
  server = await LdapServer.create(entries);
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
  // A bind alone cannot tell a name that nobody has from a wrong password.
  const ways: [string, () => Partial<LdapConfig>, "no_such_user" | undefined][] = [
    ["searching, by ldaps", () => ({}), "no_such_user"],
    ["searching, by StartTLS", () => ({ url: server.ldapUrl }), "no_such_user"],
    ["with a template of names, by ldaps", () => byTemplate, undefined],
    ["with a template of names, by StartTLS", () => ({ ...byTemplate, url: server.ldapUrl }), undefined],
  ];
  it.each(ways)(
    "%s gives people with the right password the highest role of their groups",
    async (_way, overrides, nobody) => {
      const ldap = directory(overrides());
      expect(await ldap.check("ada", password)).toEqual({ role: "admin" });
      expect(await ldap.check("eve", password)).toEqual({ role: "editor" });
      expect(await ldap.check("vic", password)).toEqual({ role: "viewer" });
      expect(await ldap.check("bob+ops", password)).toEqual({ role: "editor" });
      expect(await ldap.check("outsider", password)).toEqual({ role: undefined });
      expect(await ldap.check("ada", "wrong")).toBeUndefined();
      expect(await ldap.check("ada", "")).toBeUndefined();
      expect(await ldap.check("nobody", password)).toBe(nobody);
    },
  );

  it.each(["*", "ada)(uid=*", "a*", "*)(objectClass=*", "ada,ou=people", "\u0000", "ada\\"])(
    "takes the user name %j for a name and nothing else",
    async (username) => {
      expect(await directory().check(username, password)).toBe("no_such_user");
      expect(await directory(byTemplate).check(username, password)).toBeUndefined();
    },
  );

  it("does not take a name for nobody's that more than one has", async () => {
    const user = { base: people, filter: "(|(uid={username})(uid=eve))" };
    expect(await directory({ user }).check("ada", password)).toBeUndefined();
  });

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

  /** What the client says in the clear to a server that answers StartTLS with the code, and how often it connects. */
  async function overheard(code: string, afterwards: (socket: Socket) => void) {
    const heard = { text: "", connections: 0 };
    const impostor = createServer((socket) => {
      heard.connections++;
      socket.on("error", () => undefined);
      socket.on("data", (chunk) => (heard.text += chunk.toString("latin1")));
      socket.once("data", (request) => {
        // An extended response to the message of this id, which is the fifth byte.
        const id = request.subarray(4, 5).toString("hex");
        socket.write(Buffer.from(`300c0201${id}78070a01${code}04000400`, "hex"));
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
    const unavailable = "34";
    const heard = await overheard(unavailable, (socket) => socket.end());
    expect(heard.connections).toBe(1);
    expect(heard.text).toContain("1.3.6.1.4.1.1466.20037");
    expect(heard.text).not.toMatch(secrets);
  });

  it("that closes the connection after StartTLS is not connected to again in the clear", async () => {
    const [key, cert] = await Promise.all([readFile(server.keyFile), readFile(server.caFile)]);
    const success = "00";
    const heard = await overheard(success, (socket) => {
      socket.removeAllListeners("data");
      const secured = new TLSSocket(socket, { isServer: true, key, cert });
      secured.on("error", () => undefined);
      secured.once("secure", () => socket.destroy());
    });
    expect(heard.connections).toBe(1);
    expect(heard.text).not.toMatch(secrets);
  });

  it("with a reader of a wrong password is out of order: that is not the caller's fault", async () => {
    const ldap = directory({ reader: { dn: `uid=ada,${people}x`, passwordFile: server.readerPasswordFile } });
    await expect(ldap.check("ada", password)).rejects.toMatchObject({ status: 503 });
  });

  it("that hangs or is gone is given up in seconds", async () => {
    await server.freeze();
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
