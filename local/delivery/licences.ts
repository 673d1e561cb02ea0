/** Under which licences the packages of the lock files are, held against a list of those that are allowed. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { repository } from "../stack.ts";

/** SPDX name → why it is allowed. */
const allowed: Readonly<Record<string, string>> = {
  "0BSD": "permissive",
  "Apache-2.0": "permissive, and this project's own",
  "Artistic-2.0": "only npm itself, used as it is and not changed",
  "BlueOak-1.0.0": "permissive",
  "BSD-2-Clause": "permissive",
  "BSD-3-Clause": "permissive",
  "CC-BY-3.0": "only the list of SPDX's exceptions, which is data; its authors are named in the package",
  "CC0-1.0": "public domain",
  ISC: "permissive",
  MIT: "permissive",
  "MIT-0": "permissive",
  "MPL-2.0": "asks for the source of changes to its own files only; none is changed",
  "PSF-2.0": "permissive",
  "Python-2.0": "permissive",
  "public domain": "nobody's, by word of its author",
  Unlicense: "public domain",
  Zlib: "permissive",
};

/** Packages whose `license` field is no SPDX name: what their licence file says. */
const read: Readonly<Record<string, string>> = {
  "@logdna/tail-file": "MIT",
  "qrcode-terminal": "Apache-2.0",
  "uri-templates": "public domain",
};

export const lockFiles = [
  "package-lock.json",
  "app/package-lock.json",
  "local/images/azurite/package-lock.json",
  "local/images/node/package-lock.json",
] as const;

/** Whether an SPDX expression can be satisfied from the list: every part of an AND, any part of an OR. */
export function isAllowed(expression: string): boolean {
  const plain = expression.replaceAll(/[()]/g, " ").trim();
  return plain
    .split(/\s+OR\s+/)
    .some((choice) => choice.split(/\s+AND\s+/).every((name) => Object.hasOwn(allowed, name.trim())));
}

const lockShape = z.object({
  packages: z.record(z.string(), z.object({ license: z.string().optional() })),
});

/** The packages of a lock file that may not be used, each with its licence. */
export function refusedIn(lockFile: string): string[] {
  const { packages } = lockShape.parse(JSON.parse(lockFile));
  return Object.entries(packages).flatMap(([path, { license }]) => {
    const name = path.replace(/^.*node_modules\//, "");
    // The first entry is the project itself.
    if (path === "" || isAllowed(read[name] ?? license ?? "")) return [];
    return [`${name}: ${license ?? "no licence"}`];
  });
}

/** Of every lock file of the repository. */
export async function refusedLicences(): Promise<string[]> {
  const texts = lockFiles.map((file) => readFile(join(repository, file), "utf8"));
  return (await Promise.all(texts)).flatMap(refusedIn);
}
