/** Which plugins this machine's engine gets, from a CLI that can download every one. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { prepareEngine } from "../../local/engine.ts";

const cli = `#!/usr/bin/env bash
[[ $1 == version ]] && echo v3.999.0
if [[ "$1 $2 $3" == "plugin install resource" ]]; then mkdir -p "$PULUMI_HOME/plugins/resource-$4-v$5"; echo "$4" >> "$INSTALLED"; fi
`;

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "groundwork-plugins-"));
  const bin = join(directory, "bin");
  await mkdir(bin);
  for (const name of ["pulumi", "pulumi-language-nodejs"])
    writeFileSync(join(bin, name), cli, { mode: 0o755 });
  const environment = {
    GROUNDWORK_CACHE: join(directory, "cache"),
    HOME: directory,
    INSTALLED: join(directory, "installed"),
    PATH: `${bin}${delimiter}${process.env["PATH"] ?? ""}`,
  };
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(directory, { recursive: true });
});

test("Azure's is a stand-in even where the real one is at hand, as it would ask for a sign-in; the others are real", async () => {
  const { env } = await prepareEngine({ buildPulumi: () => Promise.reject(new Error("not needed")) });
  const plugins = join(env["PULUMI_HOME"] ?? "", "plugins");
  const laid = await readdir(plugins);
  const azure = laid.find((name) => name.startsWith("resource-azure-native-")) ?? "";
  expect(existsSync(join(plugins, azure, "stand-in"))).toBe(true);
  expect(laid.filter((name) => existsSync(join(plugins, name, "stand-in")))).toEqual([azure]);
  const installed = readFileSync(join(directory, "installed"), "utf8").trim().split("\n");
  expect(installed.sort()).toEqual(["docker", "kubernetes", "random"]);
});
