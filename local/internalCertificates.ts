/** Certificates of the servers inside the dev stack's cluster, signed by an authority that nobody outside is asked to trust. */
import { readFile } from "node:fs/promises";
import { inIdentity, serverCertificate } from "./identity.ts";

const authority = { ca: "internal-ca", authority: "Groundwork development internal CA" };

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

/** The secret configuration keys that the certificates are given by. */
export async function internalCertificates(): Promise<Record<string, string>> {
  const postgres = namesOf(["postgres"], ["postgres-members"]);
  const redis = namesOf(["redis-queue", "redis-cache"], ["redis-queue-members", "redis-cache-members"]);
  // One after the other: the first makes the authority.
  const postgresTls = await serverCertificate({ ...authority, name: "postgres", names: postgres });
  const redisTls = await serverCertificate({ ...authority, name: "redis", names: redis });
  const names = [`DNS:${appName}`, "DNS:localhost"];
  const appTls = await serverCertificate({ ...authority, name: "app", names });
  const azuriteTls = await serverCertificate({
    ...authority,
    name: "azurite",
    names: namesOf(["azurite"], []),
  });
  return {
    "groundwork:internalCa": await readFile(inIdentity(`${authority.ca}.crt`), "utf8"),
    "groundwork:postgresTls": postgresTls,
    "groundwork:redisTls": redisTls,
    "groundwork:appTls": appTls,
    "groundwork:azuriteTls": azuriteTls,
  };
}
