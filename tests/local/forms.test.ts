/** In which forms the engine's tests look for a secret in what lies about: what they do not look for they cannot find. */
import { expect, test } from "vitest";
import { formsOf } from "../engine/support.ts";

const isFound = (secret: string, where: string): boolean =>
  formsOf(secret).some((form) => where.includes(form));

// Of base64's letters, as a key is made: 258 bits, of which the last two belong to none of its 32 bytes.
const letters = "q7vXhT0pZ+bK3/mWcY9dR2sFgJ4nLaEo6uQiB1xVtPD";
const key = Buffer.from(letters, "base64").toString("base64");
const keys = JSON.stringify({ active: "2", keys: { "1": "A".repeat(44), "2": key } });
const pem = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49\n-----END PRIVATE KEY-----\n";
const certificate = pem.replaceAll("PRIVATE KEY", "CERTIFICATE").replace("MIGH", "MIIB");

test.each([
  ["as it is", 'a "password"', 'x a "password" y'],
  ["as JSON", 'a "password"', JSON.stringify({ value: 'a "password"' })],
  ["as JSON in JSON", 'a "password"', JSON.stringify(JSON.stringify({ value: 'a "password"' }))],
  ["in base64", "a password", `data: ${Buffer.from("a password").toString("base64")}`],
  ["by one line of several", pem, "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49"],
  ["by one key of a file of keys", keys, `id: ${key}`],
  ["by what a key was made of", keys, `result: ${letters}`],
  ["by one key in base64's own letters", keys, JSON.stringify({ nested: JSON.stringify({ key }) })],
])("a secret is found %s", (_, secret, where) => {
  expect(isFound(secret, where)).toBe(true);
});

test.each([
  ["a certificate beside a key", pem + certificate, certificate],
  ["short texts, which stand everywhere", JSON.stringify({ active: "1", keys: { "1": key } }), "active 1"],
  ["another key", keys, `id: ${Buffer.from(letters.toUpperCase(), "base64").toString("base64")}`],
])("%s is not taken for one", (_, secret, where) => {
  expect(isFound(secret, where)).toBe(false);
});
