import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { stringify } from "yaml";
import { policyArguments } from "../../local/stack.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "groundwork-policy-"));
  vi.stubEnv("GROUNDWORK_CACHE", directory);
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

/** What the pack is told of a stack with these settings; undefined: nothing. */
async function told(stack: string, config: object): Promise<unknown> {
  await writeFile(join(directory, `Pulumi.${stack}.yaml`), stringify({ config }));
  const [, , , file] = await policyArguments(stack, directory);
  return file === undefined ? undefined : JSON.parse(await readFile(file, "utf8"));
}

test("the policy pack is told where the stack's nodes keep the pods' logs, as it cannot look it up", async () => {
  const logging = { podLogs: "/srv/pod-logs" };
  const production = { "groundwork:environment": "production" };
  expect(await told("prod", { ...production, "groundwork:logging": logging })).toEqual({
    "no-host-access": logging,
  });
  const development = { "groundwork:environment": "development" };
  expect(await told("dev", { ...development, "groundwork:logging": logging })).toEqual({
    ...((await told("dev", development)) as object),
    "no-host-access": logging,
  });
  expect(await told("dev", development)).toMatchObject({
    "credentials-required": { environment: "development" },
  });
  expect(await told("prod", { ...production, "groundwork:logging": { enabled: true } })).toBeUndefined();
});
