import { createHash } from "node:crypto";

/**
 * The name of a prompt's answer in the cache. It covers whose it is, who answers, and the texts without differences
 * that mean nothing. Two questions of one name have one answer, so what may mean something stays: superscripts and
 * their like (5² is not 52, which rules out NFKC), line breaks and indentation.
 */
export function promptHash(tenantId: string, model: string, texts: readonly string[]): string {
  return createHash("sha256")
    .update(JSON.stringify([tenantId, model, ...texts.map(normalised)]))
    .digest("hex");
}

function normalised(text: string): string {
  return text
    .replaceAll("\u3000", " ")
    .replace(/[\uff01-\uff5e]/gu, halfWidth)
    .normalize("NFC")
    .replaceAll("\r\n", "\n")
    .replace(/(?<=[^ \t\n])[ \t]+/gu, " ")
    .trimEnd();
}

/** The full-width forms stand in the order of ASCII, from U+FF01 for the exclamation mark on. */
function halfWidth(character: string): string {
  return String.fromCharCode(character.charCodeAt(0) - 0xff01 + 0x21);
}
