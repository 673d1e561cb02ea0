import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { eventually, freePort, freeze, run, type Running, start, stop } from "./processes.ts";

/** The program, and the directories with its schemas and its modules: unpacked beside it, or installed. */
interface Slapd {
  command: string;
  schemas: string;
  modules: string | undefined;
}

function findSlapd(): Slapd {
  const places = [
    ...(process.env["PATH"] ?? "").split(delimiter),
    "/usr/sbin",
    "/usr/local/sbin",
    "/usr/libexec",
  ];
  const command = process.env["SLAPD_BIN"] ?? places.map((place) => join(place, "slapd")).find(existsSync);
  if (command === undefined || spawnSync(command, ["-VV"]).status !== 0) {
    throw new Error("cannot run slapd: install it (Debian: slapd) or set SLAPD_BIN to it");
  }
  // The test tools are wrapper scripts that name the unpacked program: its tree is what is above usr/sbin there.
  const head = readFileSync(command).subarray(0, 4096).toString("latin1");
  const unpacked = head.startsWith("#!") ? /'([^']*)\/usr\/sbin\/slapd'/.exec(head)?.[1] : undefined;
  const roots = [...(unpacked === undefined ? [] : [unpacked]), dirname(dirname(dirname(command))), "/"];
  const first = (paths: string[], file: string) =>
    roots
      .flatMap((root) => paths.map((path) => join(root, path)))
      .find((directory) => existsSync(join(directory, file)));
  const schemas = first(
    ["etc/ldap/schema", "etc/openldap/schema", "usr/local/etc/openldap/schema"],
    "core.schema",
  );
  if (schemas === undefined) {
    throw new Error(`no schema directory found for ${command}`);
  }
  // Where the back end is built in, there is no module to load.
  return {
    command,
    schemas,
    modules: first(["usr/lib/ldap", "usr/lib/openldap", "usr/lib64/openldap"], "back_mdb.so"),
  };
}

export const people = "ou=people,dc=example,dc=org";
export const groups = "ou=groups,dc=example,dc=org";
export const reader = { dn: "cn=reader,dc=example,dc=org", password: "reader-password" };

/** An LDAP server on this machine with TLS on both of its ports. */
export class LdapServer {
  readonly caFile: string;
  readonly keyFile: string;
  readonly readerPasswordFile: string;
  readonly #directory: string;
  readonly #ports: { ldap: number; ldaps: number };
  #running: Running | undefined;

  private constructor(directory: string, ports: { ldap: number; ldaps: number }) {
    this.#directory = directory;
    this.#ports = ports;
    this.caFile = join(directory, "certificate.pem");
    this.keyFile = join(directory, "key.pem");
    this.readerPasswordFile = join(directory, "reader-password");
  }

  /** @param entries LDIF of what is below `people` and `groups`. */
  static async create(entries: string): Promise<LdapServer> {
    const directory = await mkdtemp(join(tmpdir(), "groundwork-ldap-"));
    const server = new LdapServer(directory, { ldap: await freePort(), ldaps: await freePort() });
    const { command, schemas, modules } = findSlapd();
    await mkdir(join(directory, "data"));
    await writeFile(server.readerPasswordFile, `${reader.password}\n`);
    await selfSigned(directory, server.caFile);
    const config = join(directory, "slapd.conf");
    await writeFile(
      config,
      [
        ...["core", "cosine", "inetorgperson", "nis"].map((name) => `include ${schemas}/${name}.schema`),
        ...(modules === undefined ? [] : [`modulepath ${modules}`, "moduleload back_mdb"]),
        `pidfile ${directory}/slapd.pid`,
        `TLSCertificateFile ${server.caFile}`,
        `TLSCertificateKeyFile ${server.keyFile}`,
        // A password that comes in the clear is refused by the server, too.
        "security simple_bind=128",
        "database mdb",
        "maxsize 10485760",
        'suffix "dc=example,dc=org"',
        `directory ${directory}/data`,
        `access to attrs=userPassword by anonymous auth by * none`,
        `access to * by dn.exact="${reader.dn}" read by self read by anonymous auth by * none`,
        "",
      ].join("\n"),
    );
    const ldif = join(directory, "entries.ldif");
    await writeFile(ldif, `${skeleton}\n${entries}`);
    // The same program under another name adds entries without a server; -T gives it that name.
    await run(command, ["-T", "add", "-f", config, "-l", ldif]);
    await server.start();
    return server;
  }

  get ldapsUrl(): string {
    return `ldaps://localhost:${this.#ports.ldaps}`;
  }

  get ldapUrl(): string {
    return `ldap://localhost:${this.#ports.ldap}`;
  }

  async start(): Promise<void> {
    const { ldap, ldaps } = this.#ports;
    const urls = `ldap://127.0.0.1:${ldap}/ ldaps://127.0.0.1:${ldaps}/`;
    // With -d it stays in the foreground.
    this.#running = start(findSlapd().command, [
      "-d",
      "0",
      "-f",
      join(this.#directory, "slapd.conf"),
      "-h",
      urls,
    ]);
    const running = this.#running;
    await eventually(
      () =>
        new Promise<void>((resolve, reject) => {
          const socket = createConnection({ port: ldaps, host: "127.0.0.1" }, () => {
            socket.destroy();
            resolve();
          });
          socket.once("error", (error) => {
            reject(new Error(`slapd does not listen: ${error.message} ${running.stderr()}`));
          });
        }),
    );
  }

  async stop(): Promise<void> {
    if (this.#running) {
      await stop(this.#running, "SIGKILL");
    }
  }

  /** Connections stay open and nothing is answered. */
  async freeze(): Promise<void> {
    if (this.#running) await freeze(this.#running.child);
  }

  thaw(): void {
    this.#running?.child.kill("SIGCONT");
  }

  async remove(): Promise<void> {
    await this.stop();
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** A certificate for localhost that is its own CA. */
export async function selfSigned(directory: string, certificate: string): Promise<void> {
  const key = join(directory, "key.pem");
  await run("openssl", [
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"],
    ...[
      "-subj",
      "/CN=localhost",
      "-addext",
      "subjectAltName=DNS:localhost",
      "-keyout",
      key,
      "-out",
      certificate,
    ],
  ]);
  await chmod(key, 0o600);
}

const skeleton = `dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ${people}
objectClass: organizationalUnit
ou: people

dn: ${groups}
objectClass: organizationalUnit
ou: groups

dn: ${reader.dn}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: ${reader.password}
`;
