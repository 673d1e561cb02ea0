/** What the dev stack is given as secret configuration: a CA with the edge's certificate, and a key for backups. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { authorityExtensions, isCurrent, makeCertificate, signedBy } from "./certificates.ts";
import { cacheDirectory, readIfPresent } from "./system.ts";

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
  const directory = inIdentity("");
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const now = new Date();
  if (!isCurrent(await readIfPresent(caPath()), now)) {
    const subject = "/CN=Groundwork development CA";
    await makeCertificate({ directory, name: "ca", subject, days: caDays, extra: authorityExtensions });
    // What the old CA signed is worth nothing now.
    await writeFile(inIdentity("edge.names"), "");
  }
  const names = [...hosts.map((host) => `DNS:${host}`), "IP:127.0.0.1"];
  const signed = (await readIfPresent(inIdentity("edge.names"))) === names.join(",");
  if (!signed || !isCurrent(await readIfPresent(inIdentity("edge.crt")), now)) {
    const extra = signedBy(inIdentity("ca"), "serverAuth", names);
    const subject = `/CN=${hosts[0] ?? "localhost"}`;
    await makeCertificate({ directory, name: "edge", subject, days: certificateDays, extra });
    await writeFile(inIdentity("edge.names"), names.join(","));
  }
  const [certificate, key] = await Promise.all([
    readIfPresent(inIdentity("edge.crt")),
    readIfPresent(inIdentity("edge.key")),
  ]);
  return `${certificate ?? ""}${key ?? ""}`;
}

/** The age key pair that dumps of the dev stack are encrypted with; made once. */
export async function backupKey(): Promise<{ readonly identity: string; readonly recipient: string }> {
  const path = inIdentity("age.key");
  let identity = (await readIfPresent(path))?.trim();
  if (identity === undefined) {
    identity = await generateX25519Identity();
    await mkdir(inIdentity(""), { recursive: true, mode: 0o700 });
    await writeFile(path, `${identity}\n`, { mode: 0o600 });
  }
  return { identity, recipient: await identityToRecipient(identity) };
}
