import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { ownImages } from "../../components/images.ts";
import { isAllowed, lockFiles, refusedIn, refusedLicences } from "../../local/delivery/licences.ts";
import { commentBody } from "../../local/delivery/previewComment.ts";

const root = join(import.meta.dirname, "../..");
const workflows = join(root, ".github/workflows");
const texts = z.record(z.string(), z.string());
const shape = z.object({
  permissions: texts,
  concurrency: z.object({ group: z.string() }).optional(),
  jobs: z.record(
    z.string(),
    z.object({
      "runs-on": z.string(),
      "timeout-minutes": z.number(),
      needs: z.string().optional(),
      environment: z.union([z.string(), z.object({ name: z.string() })]).optional(),
      permissions: texts.optional(),
      concurrency: z.object({ group: z.string(), "cancel-in-progress": z.boolean().optional() }).optional(),
      outputs: texts.optional(),
      env: texts.optional(),
      steps: z.array(
        z.object({
          uses: z.string().optional(),
          run: z.string().optional(),
          with: z.record(z.string(), z.unknown()).optional(),
        }),
      ),
    }),
  ),
});
const files = readdirSync(workflows).map((name) => {
  const text = readFileSync(join(workflows, name), "utf8");
  return { name, text, workflow: shape.parse(parse(text)) };
});
const allJobs = files.flatMap(({ name, workflow }) =>
  Object.entries(workflow.jobs).map(([key, job]) => ({ title: `${name} ${key}`, job })),
);

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
      const [, targets = ""] = /\bmake (?:--\S+ )*([a-z -]+)/.exec(run) ?? [];
      expect(targets, run).not.toBe("");
      for (const target of targets.trim().split(" "))
        expect(makefile).toMatch(new RegExp(`^${target}:.*##`, "m"));
    }
  });
});

describe("a job that signs in to Azure", () => {
  const signedIn = allJobs.filter(({ job }) => job.steps.some(({ run }) => run === "make cloud-login"));
  const onCluster = signedIn.filter(({ job }) => job.env?.["CLUSTER"] !== undefined);

  test("is one of an environment, whose rules say who may be it, and no other may ask for an identity", () => {
    expect(signedIn).toHaveLength(4);
    for (const { title, job } of allJobs) {
      const may = job.permissions?.["id-token"] === "write";
      expect(may, title).toBe(job.environment !== undefined);
      expect(may, title).toBe(signedIn.some((other) => other.job === job));
    }
  });

  test("reaches what GitHub's own runners do not, and its cluster as itself for as long as it lasts", () => {
    for (const { title, job } of signedIn)
      expect(job["runs-on"], title).toBe("${{ vars.RUNNER || 'ubuntu-24.04' }}");
    expect(onCluster).toHaveLength(3);
    for (const { title, job } of onCluster)
      expect(job.env, title).toMatchObject({ AAD_LOGIN_METHOD: "workloadidentity", ARM_USE_OIDC: "true" });
  });

  test("does not share a group with a job of another kind, which would replace it while it waits", () => {
    const groups = [...files.map(({ workflow }) => workflow), ...allJobs.map(({ job }) => job)].flatMap(
      ({ concurrency }) => concurrency?.group ?? [],
    );
    expect(groups.length).toBeGreaterThanOrEqual(4);
    expect(groups).toEqual([...new Set(groups)]);
    for (const { title, job } of onCluster) expect(job.concurrency?.group, title).toMatch(/^stack-/);
  });

  test("runs on the development cluster the three images of its commit", () => {
    const { images, dev } = shape.parse(parse(readFileSync(join(workflows, "merge.yml"), "utf8"))).jobs;
    expect(dev?.needs).toBe("images");
    const names = Object.keys(ownImages);
    expect(Object.keys(images?.outputs ?? {}).sort()).toEqual([...names].sort());
    expect(dev?.env?.["IMAGES"]?.trim()).toBe(
      names.map((name) => `${name}=\${{ needs.images.outputs.${name} }}`).join(" "),
    );
    const attested = readFileSync(join(workflows, "merge.yml"), "utf8");
    for (const name of names)
      expect(attested).toContain(`subject-digest: \${{ steps.push.outputs.${name}-digest }}`);
  });
});

describe("of two merges close together", () => {
  const { images, dev } = shape.parse(parse(readFileSync(join(workflows, "merge.yml"), "utf8"))).jobs;
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "groundwork-merge-"));
  });
  afterEach(() => {
    rmSync(directory, { recursive: true });
  });

  test("the older one comes to the development cluster first, and neither is cut short", () => {
    for (const job of [images, dev]) expect(job?.concurrency).toMatchObject({ "cancel-in-progress": false });
  });

  test("the older one is deployed only as long as it is what main is", () => {
    const git = (...args: string[]): string =>
      execFileSync("git", ["-c", "user.name=a", "-c", "user.email=a@example.com", ...args], {
        cwd: directory,
        encoding: "utf8",
      }).trim();
    const merge = (): string => {
      git("commit", "--quiet", "--allow-empty", "--message=merge");
      return git("rev-parse", "HEAD");
    };
    const checkout = dev?.steps.find(({ uses }) => uses?.startsWith("actions/checkout@"));
    expect(checkout?.with).toEqual({ ref: "main", "persist-credentials": false });
    const script = dev?.steps.find(({ run }) => run?.includes("make deploy"))?.run ?? "exit 1";
    writeFileSync(join(directory, "make"), '#!/bin/sh\necho "made $*"\n', { mode: 0o755 });
    const deploy = (commit: string): string =>
      execFileSync("bash", ["--noprofile", "--norc", "-eo", "pipefail", "-c", script], {
        cwd: directory,
        env: { PATH: `${directory}:${process.env["PATH"] ?? ""}`, GITHUB_SHA: commit, STACK: "staging" },
        encoding: "utf8",
      });

    git("init", "--quiet", "--initial-branch=main");
    const older = merge();
    expect(deploy(older)).toBe("made deploy STACK=staging\n");
    const newer = merge();
    expect(deploy(older)).toMatch(new RegExp(`^::notice::Not deployed: main is at ${newer}.*\\n$`));
    expect(deploy(newer)).toBe("made deploy STACK=staging\n");
  });
});

test("what is to be seen of an ill stack is all shown", () => {
  const shown = [...files.map(({ text }) => text), readFileSync(join(root, ".ci/run"), "utf8")].flatMap(
    (text) => text.match(/make .*\bstatus logs/g) ?? [],
  );
  expect(shown).toHaveLength(6);
  for (const command of shown) expect(command).toContain("--keep-going");
});

test("a restore drill on a stack that the job has made finds a backup", () => {
  for (const { title, job } of allJobs) {
    const commands = job.steps.map(({ run }) => run);
    const drill = commands.indexOf("make restore-drill");
    if (drill >= 0) expect(commands.slice(0, drill), title).toContain("make backup");
  }
});

test("every quarter a disaster is recovered from, and what it said is kept", () => {
  const { text } = files.find(({ name }) => name === "quarterly.yml") ?? { text: "" };
  expect(text).toMatch(/cron: "\d+ \d+ 1 1,4,7,10 \*"/);
  expect(text).toMatch(
    /make dr-drill \|& tee dr-drill\.txt[^]*actions\/upload-artifact@[^]*path: dr-drill\.txt/,
  );
});

describe("the comment with the previews", () => {
  test("is found again, counts what would change, and stays below what GitHub takes", () => {
    const output = `\u001b[33m~ app\u001b[0m\nResources:\n    ~ 1 to update\n    80 unchanged\n`;
    const body = commentBody([{ stack: "dev", succeeded: true, output }], "abc");
    expect(body).toMatch(/^<!-- groundwork previews -->/);
    expect(body).toContain("### dev: ~ 1 to update");
    expect(body).toContain("Previews of abc against the state of the machine that made them");
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
