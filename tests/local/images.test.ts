/** What is left of the images in the machine's own Docker, which is a stand-in. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { removeImages } from "../../local/images.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "groundwork-images-"));
  vi.stubEnv("GROUNDWORK_CACHE", join(directory, "cache"));
  vi.stubEnv("PATH", `${directory}:/usr/bin:/bin`);
  await mkdir(join(directory, "cache", "images"), { recursive: true });
  const docker = `#!/bin/sh
case $2 in
  ls) test "$5" = 'groundwork/*' && printf 'groundwork/app:1\\ngroundwork/app:2\\n' ;;
  rm) echo "$3" >>"$(dirname "$0")/removed" ;;
esac
`;
  await writeFile(join(directory, "docker"), docker, { mode: 0o755 });
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(directory, { recursive: true });
});

test.each([
  ["docker", "groundwork/app:1\ngroundwork/app:2\n"],
  ["packages", ""],
])(
  "images that were built by %s leave none of our names in Docker, and no other is touched",
  async (world, removed) => {
    await writeFile(join(directory, "cache", "images", "world"), world);
    await removeImages();
    expect(await readFile(join(directory, "removed"), "utf8").catch(() => "")).toBe(removed);
  },
);
