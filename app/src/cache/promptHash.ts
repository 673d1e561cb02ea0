import { createHash } from "node:crypto";

/**
 * The name of a prompt's answer in the cache. It covers whose it is, who answers, and the texts without differences
 * that mean nothing: Unicode's compatibility forms (NFKC) and white space.
 */
export function promptHash(tenantId: string, model: string, texts: readonly string[]): string {
  const normalised = texts.map((text) => text.normalize("NFKC").replace(/\s+/gu, " ").trim());
  return createHash("sha256")
    .update(JSON.stringify([tenantId, model, ...normalised]))
    .digest("hex");
}
