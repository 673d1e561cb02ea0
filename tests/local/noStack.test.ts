/** Commands against a dev stack that no `make up` has made. */
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ensureAccounts } from "../../local/delivery/loadAccounts.ts";
import { scan } from "../../local/scan/main.ts";
import { UserError } from "../../local/system.ts";

let cache: string;
beforeEach(async () => {
  cache = await mkdtemp(join(tmpdir(), "groundwork-no-stack-"));
  vi.stubEnv("GROUNDWORK_CACHE", cache);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(cache, { recursive: true });
});

test.each([
  ["load", () => ensureAccounts(1)],
  ["scan", () => scan("viewer")],
])("`make %s` says to bring it up, and keeps nothing", async (_, command) => {
  await expect(command()).rejects.toThrow(
    new UserError("No dev stack has been made yet. Run `make up` first."),
  );
  expect(existsSync(join(cache, "load"))).toBe(false);
});
