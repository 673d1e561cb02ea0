/** What the dev stack is given as secret configuration: a CA with the edge's certificate, and a key for backups. */
import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { authorityExtensions, isCurrent, makeCertificate, signedBy } from "./certificates.ts";
import { cacheDirectory, readIfPresent, UserError } from "./system.ts";

const caDays = 3650;
const certificateDays = 365;

/** Path of one of this machine's keys or certificates. */
export function inIdentity(file: string): string {
  return join(cacheDirectory(), "identity", file);
}

/** Certificate of the CA that clients of the dev stack trust. */
export function caPath(): string {
  return inIdentity("ca.crt");
}

/** That certificate as PEM. @throws {UserError} where no `make up` has made it yet. */
export async function edgeCa(): Promise<string> {
  const pem = await readIfPresent(caPath());
  if (pem === undefined) throw new UserError("No dev stack has been made yet. Run `make up` first.");
  return pem;
}

/** The edge's certificate chain and key as one PEM. */
export function edgeCertificate(hosts: readonly string[]): Promise<string> {
  const names = [...hosts.map((host) => `DNS:${host}`), "IP:127.0.0.1"];
  const directory = inIdentity("");
  return serverCertificate({
    directory,
    ca: "ca",
    authority: "Groundwork development CA",
    name: "edge",
    names,
  });
}

interface Server {
  /** Where keys and certificates are kept. */
  readonly directory: string;
  /** Name of the authority's files. */
  readonly ca: string;
  /** What the authority is called. */
  readonly authority: string;
  /** Name of the server's files. */
  readonly name: string;
  /** Subject alternative names; the first is the subject too. */
  readonly names: readonly string[];
}

/** Certificate and key as one PEM; made once, renewed when its end is near, a name is added or the authority is new. */
export async function serverCertificate(server: Server): Promise<string> {
  const { directory, ca, authority, name, names } = server;
  const kept = (file: string): string => join(directory, file);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const now = new Date();
  if (!isCurrent(await readIfPresent(kept(`${ca}.crt`)), now)) {
    const subject = `/CN=${authority}`;
    await makeCertificate({ directory, name: ca, subject, days: caDays, extra: authorityExtensions });
  }
  const authorityPem = await readFile(kept(`${ca}.crt`), "utf8");
  // What an older authority signed is worth nothing.
  const wanted = `${names.join(",")} ${createHash("sha256").update(authorityPem).digest("hex")}`;
  const signed = (await readIfPresent(kept(`${name}.names`))) === wanted;
  if (!signed || !isCurrent(await readIfPresent(kept(`${name}.crt`)), now)) {
    const extra = signedBy(kept(ca), "serverAuth", names);
    const subject = `/CN=${names[0]?.replace("DNS:", "") ?? "localhost"}`;
    await makeCertificate({ directory, name, subject, days: certificateDays, extra });
    await writeFile(kept(`${name}.names`), wanted);
  }
  const parts = ["crt", "key"].map((type) => readFile(kept(`${name}.${type}`), "utf8"));
  return (await Promise.all(parts)).join("");
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
