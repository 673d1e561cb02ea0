/** Where the programs of the tests come from on a machine whose apt has another distribution; apt and dpkg are stand-ins. */
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { testTools } from "../../local/debian.ts";
import { run } from "../../local/system.ts";

let directory: string;

/** What it was asked for is in `calls`; the sources of an apt of its own are in `sources`. */
const aptGet = (targets: string): string => `#!/bin/sh
here=$(dirname "$0")
echo "$1 $(test -z "$APT_CONFIG" || echo own)" >>"$here/calls"
case $1 in
  indextargets) echo "${targets}" ;;
  download) test ! -e "$here/no-keyring" || { echo "E: Unable to locate package $3" >&2; exit 100; }
    touch debian-archive-keyring.deb ;;
  update) cp "$(dirname "$APT_CONFIG")/sources.list" "$here/sources"
    sed -n 's/.*signed-by=\\([^]]*\\)].*/\\1/p' "$here/sources" | xargs -r ls ;;
  install) touch "$(dirname "$APT_CONFIG")/archives/programs.deb" ;;
esac
`;

const dpkgDeb = `#!/bin/sh
unpack() { mkdir -p "$(dirname "$1")" && printf '#!/bin/sh\\necho "$@"\\n' >"$1" && chmod +x "$1"; }
case $2 in
  *keyring.deb) unpack "$3/usr/share/keyrings/debian-archive-keyring.gpg" ;;
  *) unpack "$3/usr/lib/some-linux-gnu/ld-linux.so.2"
     for tool in nginx promtool amtool redis-server slapd psql; do unpack "$3/usr/bin/$tool"; done ;;
esac
`;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "groundwork-debian-"));
  vi.stubEnv("GROUNDWORK_CACHE", join(directory, "cache"));
  vi.stubEnv("PATH", `${directory}:/usr/bin:/bin`);
  vi.spyOn(process.stderr, "write").mockReturnValue(true);
  await writeFile(join(directory, "dpkg-deb"), dpkgDeb, { mode: 0o755 });
});
afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  await rm(directory, { recursive: true });
});

async function machineHas(targets: string): Promise<void> {
  await writeFile(join(directory, "apt-get"), aptGet(targets), { mode: 0o755 });
}
const lines = async (name: string): Promise<string[]> =>
  (await readFile(join(directory, name), "utf8")).trim().split("\n");

describe("on Ubuntu", () => {
  beforeEach(() => machineHas("http://archive.ubuntu.com/ubuntu noble main Packages"));

  test("they are Debian's own, by the keys of Ubuntu's package of them", async () => {
    const bin = await testTools();
    expect((await lines("calls")).map((line) => line.trim())).toEqual([
      "indextargets",
      "download",
      "update own",
      "install own",
    ]);
    expect(await lines("sources")).toEqual([
      expect.stringMatching(/^deb \[signed-by=\/.+\/debian-archive-keyring\.gpg\] \S+\/debian trixie main$/),
      expect.stringMatching(/^deb \[signed-by=\/.+\] \S+\/debian-security trixie-security main$/),
    ]);
    // By the loader that came with them, and none of the machine's libraries.
    const root = join(directory, "cache/test-tools");
    expect(await run(join(bin, "psql"), ["--version"])).toBe(
      `--library-path ${root}/usr/lib/some-linux-gnu ${root}/usr/bin/psql --version\n`,
    );
    expect(existsSync(join(root, "usr/share/keyrings"))).toBe(false);
  });

  test("without that package it is said that it is missing, and nothing is left half-made", async () => {
    await writeFile(join(directory, "no-keyring"), "");
    await expect(testTools()).rejects.toThrow(
      /Unable to locate package debian-archive-keyring\n.*apt-get update/,
    );
    expect(existsSync(join(directory, "cache/test-tools"))).toBe(false);
  });
});

test("on Debian they are from where the machine has its own", async () => {
  await machineHas("http://mirror.example.com/debian bookworm main Packages");
  await testTools();
  expect(await lines("sources")).toEqual(["deb http://mirror.example.com/debian trixie main"]);
  expect((await lines("calls")).join()).not.toContain("download");
});
