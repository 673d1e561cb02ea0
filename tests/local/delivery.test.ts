import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { isAllowed, lockFiles, refusedIn, refusedLicences } from "../../local/delivery/licences.ts";
import { commentBody } from "../../local/delivery/previewComment.ts";

const root = join(import.meta.dirname, "../..");
const workflows = join(root, ".github/workflows");
const shape = z.object({
  permissions: z.record(z.string(), z.string()),
  jobs: z.record(
    z.string(),
    z.object({
      "timeout-minutes": z.number(),
      steps: z.array(z.object({ uses: z.string().optional(), run: z.string().optional() })),
    }),
  ),
});
const files = readdirSync(workflows).map((name) => {
  const text = readFileSync(join(workflows, name), "utf8");
  return { name, text, workflow: shape.parse(parse(text)) };
});

describe.each(files)("the workflow $name", ({ text, workflow }) => {
  const steps = Object.values(workflow.jobs).flatMap((job) => job.steps);

  test("may read by default, and each job ends by itself", () => {
    expect(workflow.permissions).toEqual({ contents: "read" });
    for (const job of Object.values(workflow.jobs)) expect(job["timeout-minutes"]).toBeLessThanOrEqual(120);
  });

  test("uses actions of GitHub's own, by commit", () => {
    for (const { uses } of steps)
      if (uses !== undefined) expect(uses).toMatch(/^actions\/[a-z-]+@[0-9a-f]{40}$/);
    expect(text).not.toMatch(/secrets\./);
  });

  test("does only what a make target does", () => {
    const makefile = readFileSync(join(root, "Makefile"), "utf8");
    for (const { run } of steps) {
      if (run === undefined) continue;
      const [, targets = ""] = /\bmake (?:--silent )?([a-z -]+)/.exec(run) ?? [];
      expect(targets, run).not.toBe("");
      for (const target of targets.trim().split(" "))
        expect(makefile).toMatch(new RegExp(`^${target}:.*##`, "m"));
    }
  });
});

describe("the comment with the previews", () => {
  test("is found again, counts what would change, and stays below what GitHub takes", () => {
    const output = `\u001b[33m~ app\u001b[0m\nResources:\n    ~ 1 to update\n    80 unchanged\n`;
    const body = commentBody([{ stack: "dev", succeeded: true, output }], "abc");
    expect(body).toMatch(/^<!-- groundwork previews -->/);
    expect(body).toContain("### dev: ~ 1 to update");
    expect(body).not.toContain("\u001b");
    const long = commentBody(
      [{ stack: "dev", succeeded: false, output: "x".repeat(200_000) + "the end" }],
      "abc",
    );
    expect(long.length).toBeLessThan(65_536);
    expect(long).toContain("the end");
    expect(long).toContain("the preview failed");
  });
});

test("every line of the table of what is encrypted names a test that is there", () => {
  const page = readFileSync(join(root, "docs/encryption.md"), "utf8");
  const named = [...page.matchAll(/`(tests\/(?:unit|cluster)\/[\w.]+)`: (.+?) *\|$/gm)];
  const lines = page.split("\n").filter((line) => line.startsWith("| "));
  expect(named).toHaveLength(lines.length - 2);
  for (const [, file = "", title = ""] of named)
    expect(readFileSync(join(root, file), "utf8"), file).toContain(`test("${title}"`);
});

describe("the licences of packages", () => {
  test("are read as SPDX means them: all of an AND, one of an OR", () => {
    expect(["MIT", "(MIT AND Zlib)", "(GPL-3.0 OR MIT)"].filter(isAllowed)).toHaveLength(3);
    expect(["GPL-3.0", "(MIT AND GPL-3.0)", "", "constructor"].filter(isAllowed)).toEqual([]);
  });

  test("are all on the list, in every lock file of the repository", async () => {
    const files = execFileSync("git", ["ls-files", "*package-lock.json"], { cwd: root, encoding: "utf8" });
    expect(files.trim().split("\n")).toEqual([...lockFiles].sort());
    expect(await refusedLicences()).toEqual([]);
    const lock = {
      packages: { "": {}, "node_modules/a/node_modules/@b/c": { license: "GPL-3.0" }, "node_modules/d": {} },
    };
    expect(refusedIn(JSON.stringify(lock))).toEqual(["@b/c: GPL-3.0", "d: no licence"]);
  });
});
