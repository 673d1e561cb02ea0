/** The way back after a deployment that turned out bad: a real engine, a repository with two commits, its own backend. */
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { deployPrevious } from "../../local/delivery/deployPrevious.ts";
import { repository, type Engine } from "../../local/stack.ts";
import { run } from "../../local/system.ts";
import { testEngine } from "./support.ts";

let directory: string;
let engine: Engine;

const command = (program: string, ...args: string[]): Promise<string> =>
  run(program, args, { cwd: directory });
const deploy = (): Promise<string> => command("make", "deploy", "STACK=prod");
const version = async (): Promise<string> =>
  (await command(engine.pulumi, "stack", "output", "version", "--stack=prod")).trim();

async function commit(text: string, program = `exports.version = "${text}";`): Promise<void> {
  await writeFile(join(directory, "index.js"), `${program}\n`);
  await command("git", "add", ".");
  const author = ["-c", "user.name=tests", "-c", "user.email=tests@example.com"];
  await command("git", ...author, "commit", "--quiet", `--message=${text}`);
}

beforeAll(async () => {
  engine = await testEngine();
  directory = await mkdtemp(join(tmpdir(), "groundwork-previous-test-"));
  const state = join(directory, ".state");
  const environment = {
    ...engine.env,
    PATH: `${dirname(engine.pulumi)}${delimiter}${process.env["PATH"] ?? ""}`,
    PULUMI_BACKEND_URL: `file://${state}`,
    PULUMI_CONFIG_PASSPHRASE_FILE: undefined,
    PULUMI_CONFIG_PASSPHRASE: "a passphrase of this test",
  };
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
  await mkdir(state);
  await symlink(join(repository, "node_modules"), join(directory, "node_modules"));
  const files = {
    ".gitignore": ".state\n",
    "Pulumi.yaml": "name: previous\nruntime: { name: nodejs, options: { typescript: false } }\n",
    "package.json": "{}",
    Makefile: "deploy:\n\tpulumi up --yes --skip-preview --stack $(STACK)\n",
  };
  for (const [name, content] of Object.entries(files)) await writeFile(join(directory, name), content);
  await command("git", "init", "--quiet");
  await command(engine.pulumi, "stack", "init", "prod");
});

afterAll(async () => {
  vi.unstubAllEnvs();
  await rm(directory, { recursive: true, force: true });
});

test("a stack goes back to the commit that ran before, once, and only from the one that was deployed last", async () => {
  await commit("first");
  await expect(deployPrevious("dev", directory)).rejects.toThrow("history of dev cannot be read");
  await deploy();
  await expect(deployPrevious("prod", directory)).rejects.toThrow("Nothing was deployed before");

  await commit("second");
  await expect(deployPrevious("prod", directory)).rejects.toThrow("not what was deployed last");
  await deploy();
  expect(await version()).toBe("second");
  expect(await deployPrevious("prod", directory)).toBe(0);
  expect(await version()).toBe("first");
  await expect(deployPrevious("prod", directory)).rejects.toThrow("not what was deployed last");

  // The same again: what ran before is the first still.
  await deploy();
  expect(await deployPrevious("prod", directory)).toBe(0);
  expect(await version()).toBe("first");

  // Deployed twice and well: whatever is wrong now came from somewhere else.
  await deploy();
  await deploy();
  await expect(deployPrevious("prod", directory)).rejects.toThrow("what ran before, too");
  expect(await version()).toBe("second");

  // One that did not come up is nothing to go back to.
  await commit("broken", "throw new Error('broken')");
  await expect(deploy()).rejects.toThrow("Error 1");
  await commit("third");
  await deploy();
  expect(await deployPrevious("prod", directory)).toBe(0);
  expect(await version()).toBe("second");
});
