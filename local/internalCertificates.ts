/** Certificates of the servers inside a stack's cluster, signed by an authority that nobody outside is asked to trust. */
import { chmod, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { inIdentity, serverCertificate } from "./identity.ts";
import { say, UserError } from "./system.ts";

const ca = "internal-ca";

/** By which the edge checks the app, whichever of its Services it comes by, and what runs in the app's own pod. */
export const appName = "app.app.svc.cluster.local";

/** The data tier's names: each Service's, each member's behind a headless one, and the pod's own for its probes. */
function namesOf(services: readonly string[], headless: readonly string[]): string[] {
  const domain = "data.svc.cluster.local";
  return [
    ...[...services, ...headless].map((service) => `DNS:${service}.${domain}`),
    ...headless.map((service) => `DNS:*.${service}.${domain}`),
    "DNS:localhost",
  ];
}

/** The secret configuration keys that the certificates are given by; what they are made of is kept in `directory`. */
export async function internalCertificates(directory = inIdentity("")): Promise<Record<string, string>> {
  const made = (name: string, names: readonly string[]): Promise<string> =>
    serverCertificate({ directory, ca, authority: "Groundwork internal CA", name, names });
  // One after the other: the first makes the authority.
  const postgresTls = await made("postgres", namesOf(["postgres"], ["postgres-members"]));
  const redis = namesOf(["redis-queue", "redis-cache"], ["redis-queue-members", "redis-cache-members"]);
  const redisTls = await made("redis", redis);
  const appTls = await made("app", [`DNS:${appName}`, "DNS:localhost"]);
  const azuriteTls = await made("azurite", namesOf(["azurite"], []));
  return {
    "groundwork:internalCa": await readFile(join(directory, `${ca}.crt`), "utf8"),
    "groundwork:postgresTls": postgresTls,
    "groundwork:redisTls": redisTls,
    "groundwork:appTls": appTls,
    "groundwork:azuriteTls": azuriteTls,
  };
}

/** `make certificates DIR=…`: for a stack on another cluster, a file each, named as the configuration key. */
export async function writeCertificates(given: string): Promise<void> {
  if (given === "")
    throw new UserError("DIR is not set: a directory outside the repository, for keys and certificates");
  const directory = resolve(given);
  for (const [key, pem] of Object.entries(await internalCertificates(directory))) {
    const path = join(directory, `${key.replace("groundwork:", "")}.pem`);
    await writeFile(path, pem, { mode: 0o600 });
    await chmod(path, 0o600);
  }
  say(
    `certificates: in ${directory}, for a year; again with the same DIR renews those with less than 60 days left. ` +
      `Keep ${ca}.key where nobody else gets it: whoever has it can be every server of the cluster.`,
  );
}
