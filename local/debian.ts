/**
 * Programs that tests use and the machine lacks, from the Debian release that the images are made of: unpacked into the
 * cache with the libraries they need, not installed, without root.
 */
import { chmod, mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { debianSources, release } from "./images/base.ts";
import { cacheDirectory, exists, findCommand, message, run, say, UserError } from "./system.ts";

/** Program → the package that has it. */
const tools = {
  nginx: "nginx",
  promtool: "promtool",
  amtool: "prometheus-alertmanager",
  "redis-server": "redis-server",
  slapd: "slapd",
  psql: "postgresql-client-17",
} as const;

/** A directory for PATH with every program that the tests use, in the versions that the images have. */
export async function testTools(): Promise<string> {
  const root = join(cacheDirectory(), "test-tools");
  const bin = join(root, "bin");
  const present = await Promise.all(Object.keys(tools).map((tool) => exists(join(bin, tool))));
  if (!present.includes(false)) return bin;
  if ((await findCommand("apt-get")) === undefined) return pathTools();
  say(`tests: unpacking Debian's ${Object.keys(tools).join(", ")} into the cache (about 30 s)`);
  const partial = `${root}.partial`;
  await rm(partial, { recursive: true, force: true });
  try {
    await download(partial);
  } catch (error) {
    throw new UserError(
      `Debian's packages for the tests could not be had: ${message(error)}\n` +
        "Where a package is unknown, `apt-get update` first; then run the same command again.",
    );
  }
  await rm(root, { recursive: true, force: true });
  await rename(partial, root);
  await writeWrappers(root, `${bin}.partial`);
  await rename(`${bin}.partial`, bin);
  return bin;
}

/** Where there is no Debian, the person's own programs serve. */
async function pathTools(): Promise<string> {
  for (const [tool, debianPackage] of Object.entries(tools)) {
    if ((await findCommand(tool)) === undefined) {
      throw new UserError(
        `The tests use ${tool} (in Debian's package ${debianPackage}): install it, then run this again.`,
      );
    }
  }
  return "";
}

/** An apt of its own in `root`, which believes that nothing is installed and so fetches every library, too. */
async function download(root: string): Promise<void> {
  const apt = join(root, "apt");
  for (const directory of ["lists/partial", "archives/partial"])
    await mkdir(join(apt, directory), { recursive: true });
  await writeFile(join(apt, "status"), "");
  const own = await debianSources();
  const sources = own.length > 0 ? own : await debianArchive(apt);
  await writeFile(join(apt, "sources.list"), `${sources.join("\n")}\n`);
  const settings = {
    "Dir::State::lists": join(apt, "lists"),
    "Dir::State::status": join(apt, "status"),
    "Dir::Cache": apt,
    "Dir::Cache::archives": join(apt, "archives"),
    "Dir::Etc::sourcelist": join(apt, "sources.list"),
    "Dir::Etc::sourceparts": "-",
    "Dir::Etc::preferencesparts": "-",
    "APT::Install-Recommends": "false",
    // apt's sandbox user cannot write to a private directory.
    "APT::Sandbox::User": "root",
    "Debug::NoLocking": "true",
  };
  const lines = Object.entries(settings).map(([key, value]) => `${key} "${value}";\n`);
  await writeFile(join(apt, "apt.conf"), lines.join(""));
  const env = { ...process.env, APT_CONFIG: join(apt, "apt.conf") };
  await run("apt-get", ["update", "--quiet"], { env });
  await run("apt-get", ["install", "--quiet", "--yes", "--download-only", ...Object.values(tools)], { env });
  for (const file of await readdir(join(apt, "archives"))) {
    if (file.endsWith(".deb")) await run("dpkg-deb", ["--extract", join(apt, "archives", file), root]);
  }
  await rm(apt, { recursive: true });
}

/** Debian's own archive, by the keys that this machine's distribution (Ubuntu, say) has a package of. */
async function debianArchive(directory: string): Promise<string[]> {
  await run("apt-get", ["download", "--quiet", "debian-archive-keyring"], { cwd: directory });
  const file = (await readdir(directory)).find((name) => name.endsWith(".deb")) ?? "";
  await run("dpkg-deb", ["--extract", join(directory, file), directory]);
  const keyring = join(directory, "usr/share/keyrings/debian-archive-keyring.gpg");
  return [`debian ${release}`, `debian-security ${release}-security`].map(
    (place) => `deb [signed-by=${keyring}] http://deb.debian.org/${place} main`,
  );
}

/** Each program by its own loader, as the machine's C library may be older than the one it was built for. */
async function writeWrappers(root: string, bin: string): Promise<void> {
  const architecture =
    (await readdir(join(root, "usr/lib"))).find((name) => name.endsWith("-linux-gnu")) ?? "";
  const libraries = join(root, "usr/lib", architecture);
  const loader = (await readdir(libraries)).find((name) => name.startsWith("ld-linux")) ?? "";
  await rm(bin, { recursive: true, force: true });
  await mkdir(bin);
  for (const tool of Object.keys(tools)) {
    // Debian's /usr/bin/psql chooses among versions, with Perl.
    const places = ["usr/lib/postgresql/17/bin", "usr/bin", "usr/sbin"].map((place) =>
      join(root, place, tool),
    );
    const found = (await Promise.all(places.map(exists))).indexOf(true);
    const script = `#!/bin/sh\nexec '${join(libraries, loader)}' --library-path '${libraries}' '${places[found] ?? ""}' "$@"\n`;
    await writeFile(join(bin, tool), script);
    await chmod(join(bin, tool), 0o755);
  }
}
