/** What the dev stack is given as secret configuration: a CA with the edge's certificate, and a key for backups. */
import { randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { isCurrent } from "./node/pki.ts";
import { cacheDirectory, readIfPresent, run } from "./system.ts";

const caDays = 3650;
const certificateDays = 365;

function inIdentity(file: string): string {
  return join(cacheDirectory(), "identity", file);
}

/** Certificate of the CA that clients of the dev stack trust. */
export function caPath(): string {
  return inIdentity("ca.crt");
}

/** The edge's certificate chain and key as one PEM; made once, renewed when its end is near or a host is added. */
export async function edgeCertificate(hosts: readonly string[]): Promise<string> {
  await mkdir(join(cacheDirectory(), "identity"), { recursive: true, mode: 0o700 });
  const now = new Date();
  if (!isCurrent(await readIfPresent(caPath()), now)) {
    await openssl("ca", caDays, "/CN=Groundwork development CA", [
      ...["-addext", "basicConstraints=critical,CA:TRUE,pathlen:0"],
      ...["-addext", "keyUsage=critical,keyCertSign,cRLSign"],
    ]);
    // What the old CA signed is worth nothing now.
    await writeFile(inIdentity("edge.names"), "");
  }
  const names = [...hosts.map((host) => `DNS:${host}`), "IP:127.0.0.1"].join(",");
  const signed = (await readIfPresent(inIdentity("edge.names"))) === names;
  if (!signed || !isCurrent(await readIfPresent(inIdentity("edge.crt")), now)) {
    await openssl("edge", certificateDays, `/CN=${hosts[0] ?? "localhost"}`, [
      ...["-CA", caPath(), "-CAkey", inIdentity("ca.key")],
      ...["-addext", "basicConstraints=critical,CA:FALSE"],
      ...["-addext", "keyUsage=critical,digitalSignature"],
      ...["-addext", "extendedKeyUsage=serverAuth"],
      ...["-addext", `subjectAltName=${names}`],
    ]);
    await writeFile(inIdentity("edge.names"), names);
  }
  const [certificate, key] = await Promise.all([
    readIfPresent(inIdentity("edge.crt")),
    readIfPresent(inIdentity("edge.key")),
  ]);
  return `${certificate ?? ""}${key ?? ""}`;
}

async function openssl(name: string, days: number, subject: string, extra: readonly string[]): Promise<void> {
  await run("openssl", [
    ...["req", "-config", "/dev/null", "-x509", "-new", "-sha256", "-nodes", "-days", String(days)],
    ...["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", subject],
    ...["-set_serial", `0x${randomBytes(16).toString("hex")}`, ...extra],
    ...["-keyout", inIdentity(`${name}.key`), "-out", inIdentity(`${name}.crt`)],
  ]);
}

/** The age key pair that dumps of the dev stack are encrypted with; made once. */
export async function backupKey(): Promise<{ readonly identity: string; readonly recipient: string }> {
  const path = inIdentity("age.key");
  let identity = (await readIfPresent(path))?.trim();
  if (identity === undefined) {
    identity = await generateX25519Identity();
    await mkdir(join(cacheDirectory(), "identity"), { recursive: true, mode: 0o700 });
    await writeFile(path, `${identity}\n`, { mode: 0o600 });
  }
  return { identity, recipient: await identityToRecipient(identity) };
}
