/** Certificates of this machine, signed with openssl. */
import { randomBytes, X509Certificate } from "node:crypto";
import { chmod } from "node:fs/promises";
import { join } from "node:path";
import { run } from "./system.ts";

const renewBeforeDays = 60;

export interface Certificate {
  /** Where `<name>.key` (mode 0600) and `<name>.crt` are written. */
  readonly directory: string;
  readonly name: string;
  /** Distinguished name as openssl writes it: `/O=…/CN=…`. */
  readonly subject: string;
  readonly days: number;
  /** Further arguments of `openssl req`: extensions, and `-CA` and `-CAkey` unless it signs itself. */
  readonly extra: readonly string[];
}

/** Arguments that make a certificate an authority which signs no further ones. */
export const authorityExtensions: readonly string[] = [
  ...["-addext", "basicConstraints=critical,CA:TRUE,pathlen:0"],
  ...["-addext", "keyUsage=critical,keyCertSign,cRLSign"],
];

/** Arguments for a server's or client's certificate, signed by the authority whose files begin with `authority`. */
export function signedBy(authority: string, usage: string, names: readonly string[] = []): string[] {
  return [
    ...["-CA", `${authority}.crt`, "-CAkey", `${authority}.key`],
    ...["-addext", "basicConstraints=critical,CA:FALSE"],
    ...["-addext", "keyUsage=critical,digitalSignature"],
    ...["-addext", `extendedKeyUsage=${usage}`],
    ...(names.length === 0 ? [] : ["-addext", `subjectAltName=${names.join(",")}`]),
  ];
}

/** Makes a new key and its certificate. */
export async function makeCertificate({ directory, name, subject, days, extra }: Certificate): Promise<void> {
  const key = join(directory, `${name}.key`);
  await run("openssl", [
    // An empty configuration file, as the distribution's would add extensions of its own.
    ...["req", "-config", "/dev/null", "-x509", "-new", "-sha256", "-noenc", "-days", String(days)],
    ...["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", subject],
    ...["-set_serial", `0x${randomBytes(16).toString("hex")}`, ...extra],
    ...["-keyout", key, "-out", join(directory, `${name}.crt`)],
  ]);
  await chmod(key, 0o600);
}

/** Readable, already valid, and far enough from its end. */
export function isCurrent(pem: string | undefined, now: Date): boolean {
  if (pem === undefined) return false;
  try {
    const certificate = new X509Certificate(pem);
    const renewAt = Date.parse(certificate.validTo) - renewBeforeDays * 86_400_000;
    return Date.parse(certificate.validFrom) <= now.getTime() && now.getTime() < renewAt;
  } catch {
    return false;
  }
}
