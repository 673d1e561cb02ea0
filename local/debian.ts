/** Programs that tests use, from Debian packages unpacked into the cache: nothing is installed, no root is needed. */
import { chmod, mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { cacheDirectory, exists, findCommand, message, run, say, UserError } from "./system.ts";

interface Tool {
  /** The program's name on PATH. */
  readonly command: string;
  /** Where its package puts it. */
  readonly path: string;
  /** The package, then those libraries of it that a small system lacks. */
  readonly packages: readonly string[];
}

const tools: readonly Tool[] = [
  {
    command: "redis-server",
    path: "usr/bin/redis-server",
    packages: ["redis-server", "redis-tools", "liblzf1", "libjemalloc2"],
  },
  { command: "promtool", path: "usr/bin/promtool", packages: ["prometheus"] },
  { command: "amtool", path: "usr/bin/amtool", packages: ["prometheus-alertmanager"] },
  { command: "nginx", path: "usr/sbin/nginx", packages: ["nginx"] },
];

/** A directory for PATH that has every tool the tests use and the machine lacks. */
export async function testTools(): Promise<string> {
  const bin = join(cacheDirectory(), "test-tools", "bin");
  await mkdir(bin, { recursive: true });
  for (const tool of tools) {
    if ((await findCommand(tool.command)) === undefined && !(await exists(join(bin, tool.command))))
      await unpack(tool, bin);
  }
  return bin;
}

async function unpack({ command, path, packages }: Tool, bin: string): Promise<void> {
  if ((await findCommand("apt-get")) === undefined) {
    throw new UserError(
      `The tests use ${command}: install it (Debian's package is ${packages[0] ?? command}), then run this again.`,
    );
  }
  say(`tests: ${command} is not installed; unpacking Debian's ${packages.join(", ")} into the cache`);
  const root = join(cacheDirectory(), "test-tools", command);
  const partial = `${root}.partial`;
  await rm(partial, { recursive: true, force: true });
  await mkdir(partial, { recursive: true });
  try {
    // The sandbox user of apt cannot write to a private directory; as this user it can.
    const download = ["download", "-q", "-o", "APT::Sandbox::User=root", ...packages];
    await run("apt-get", download, { cwd: partial }).catch(async () => {
      await run("apt-get", ["update", "-q"]);
      await run("apt-get", download, { cwd: partial });
    });
    for (const file of await readdir(partial)) {
      if (file.endsWith(".deb")) await run("dpkg-deb", ["--extract", file, "."], { cwd: partial });
    }
  } catch (error) {
    throw new UserError(
      `Debian's package of ${command} could not be had: ${message(error)}. Install ${command}, then run this again.`,
    );
  }
  await rm(root, { recursive: true, force: true });
  await rename(partial, root);
  const libraries = join(root, "usr/lib/x86_64-linux-gnu");
  const script = `#!/bin/sh\nLD_LIBRARY_PATH='${libraries}' exec '${join(root, path)}' "$@"\n`;
  await writeFile(join(bin, command), script);
  await chmod(join(bin, command), 0o755);
}
