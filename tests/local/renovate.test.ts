/** Whatever is pinned outside a package manager's own files is found by one of Renovate's managers. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { z } from "zod";

const root = join(import.meta.dirname, "../..");
const read = (file: string): string => readFileSync(join(root, file), "utf8");
const { customManagers } = z
  .object({
    customManagers: z.array(
      z.object({
        managerFilePatterns: z.array(z.string().regex(/^\/.+\/$/)),
        matchStrings: z.array(z.string()),
        depNameTemplate: z.string().optional(),
        datasourceTemplate: z.string(),
      }),
    ),
  })
  .parse(JSON.parse(read("renovate.json")));

/** What the managers find in a file, as Renovate's library for regular expressions does: name, version, and where. */
function found(file: string): { name: string; version: string; start: number; end: number }[] {
  const managers = customManagers.filter(({ managerFilePatterns }) =>
    managerFilePatterns.some((pattern) => new RegExp(pattern.slice(1, -1)).test(file)),
  );
  return managers.flatMap(({ matchStrings, depNameTemplate }) =>
    matchStrings.flatMap((pattern) =>
      [...read(file).matchAll(new RegExp(pattern, "g"))].map(({ index, 0: text, groups }) => ({
        name: groups?.["depName"] ?? depNameTemplate ?? "",
        version: groups?.["currentValue"] ?? "",
        start: index,
        end: index + text.length,
      })),
    ),
  );
}

const sources = execFileSync("git", ["ls-files", "components", "local", "policy", "index.ts"], {
  cwd: root,
  encoding: "utf8",
})
  .trim()
  .split("\n")
  .filter((file) => /\.m?ts$|^local\/groundwork$/.test(file));
/** An image by its digest, or a version that something is called. */
const pin = /@sha256:(?!0{64})[0-9a-f]{64}"|\b(?:version: "|\w+Version = "|\w+_version=)\d+\.\d[\w.]*/g;
const pins = sources.flatMap((file) =>
  [...read(file).matchAll(pin)].map(({ index, 0: text }) => ({ file, index, text })),
);

test("every pin in the code is found by exactly one manager, with its name", () => {
  expect(pins.length).toBeGreaterThanOrEqual(18);
  const unfound = pins.filter(({ file, index, text }) => {
    const managed = found(file).filter(({ start, end }) => start <= index && index + text.length <= end);
    return managed.length !== 1 || managed[0]?.name === "" || managed[0]?.version === "";
  });
  expect(unfound).toEqual([]);
});

test("no manager looks for what is not there", () => {
  for (const { managerFilePatterns } of customManagers)
    for (const pattern of managerFilePatterns) {
      const files = sources.filter((file) => new RegExp(pattern.slice(1, -1)).test(file));
      expect(files, pattern).toHaveLength(1);
      expect(found(files[0] ?? ""), pattern).not.toEqual([]);
    }
});

test("what is named twice has one version", () => {
  const [kubernetes, pulumi] = found("local/goModules.ts");
  for (const [pinned, module] of [
    [kubernetes, "kubernetes"],
    [pulumi, "pulumi"],
  ] as const)
    expect(read(`local/modules/${module}/go.mod`)).toContain(`${pinned?.name} v${pinned?.version}`);
  const [node] = found("local/groundwork");
  expect(read("local/images/node/package.json")).toContain(`"${node?.name}": "${node?.version}"`);
});
