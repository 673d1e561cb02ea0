/** The image that every Dockerfile here starts from, made from Debian packages where it cannot be pulled. */
import { createHash } from "node:crypto";
import { readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ensureSystemPackages, message, run, tryRun, UserError } from "../system.ts";
import { baseImage, baseRecipe, packagesAsOf } from "./catalogue.ts";
import { hostOption, type Workshop } from "./build.ts";
import type { DockerClient } from "./privateDocker.ts";
import { step, StepError, type StepOptions } from "./steps.ts";

/** The release that the images are made of. */
export const release = "trixie";
const debianReleases = ["bookworm", release, "forky", "sid"];
const ownCertificates = "/usr/local/share/ca-certificates";

/** Makes the daemon have `baseImage`, from packages as the machine's own apt gets them. */
export async function ensureBase(workshop: Workshop): Promise<void> {
  const { client, directory, progress, signal } = workshop;
  const args = await mmdebstrapArguments();
  const tag = createHash("sha256")
    .update([packagesAsOf, ...args].join("\n"))
    .digest("hex")
    .slice(0, 12);
  const made = `groundwork/base:${tag}`;
  const [own, current] = await Promise.all([imageId(client, made), imageId(client, baseImage)]);
  if (own !== undefined && own === current) return;
  const logFile = join(directory, "base.log");
  const docker = { logFile, signal, env: client.env };
  if (own === undefined) {
    await ensureSystemPackages([{ provides: "mmdebstrap", debianPackage: "mmdebstrap" }], "building images");
    await progress.during("base", 45, async () => {
      await writeFile(logFile, "");
      const tar = join(directory, "base.tar.partial");
      await bootstrap([...args, release, tar, ...(await debianSources())], { logFile, signal });
      await step(client.command, ["import", tar, made], docker);
      await rm(tar);
    });
  }
  await step(client.command, ["tag", made, baseImage], docker);
}

async function imageId(client: DockerClient, image: string): Promise<string | undefined> {
  return tryRun(client.command, [...hostOption(client), "image", "inspect", "--format", "{{.Id}}", image]);
}

async function mmdebstrapArguments(): Promise<string[]> {
  const certificates = (await readdir(ownCertificates).catch(() => []))
    .filter((file) => file.endsWith(".crt"))
    .sort();
  const hooks = [
    // A machine behind an inspecting proxy trusts more authorities than the public ones; its builds must, too.
    `mkdir -p "$1${ownCertificates}"`,
    ...certificates.map((file) => `copy-in ${join(ownCertificates, file)} ${ownCertificates}`),
  ];
  return [...baseRecipe, ...hooks.map((hook) => `--customize-hook=${hook}`), ...(await proxyOptions())];
}

/** mmdebstrap reads none of the machine's apt configuration; what it is told stays in the image, where builds need it. */
async function proxyOptions(): Promise<string[]> {
  const options: string[] = [];
  for (const scheme of ["http", "https"]) {
    const name = `Acquire::${scheme}::Proxy`;
    const proxy = /^'(.+)'$/m.exec(
      ((await tryRun("apt-config", ["shell", "P", name])) ?? "").replace(/^P=/, ""),
    )?.[1];
    if (proxy !== undefined) options.push(`--aptopt=${name} "${proxy}"`);
  }
  return options;
}

/** Source lines for the release, from wherever this machine has its Debian; none where it has no Debian, but Ubuntu. */
export async function debianSources(): Promise<string[]> {
  const format = "$(REPO_URI) $(RELEASE) $(COMPONENT) $(CREATED_BY)";
  // Works without downloaded lists, too. Pockets of third parties (such as -pgdg) follow the same pattern and are not Debian.
  const targets = (await tryRun("apt-get", ["indextargets", "--no-release-info", "--format", format])) ?? "";
  const lines = new Set<string>();
  for (const target of targets.split("\n")) {
    const [uri, suite, component, kind] = target.split(" ");
    const [, codename = "", pocket = ""] = /^([a-z]+)(|-updates|-security)$/.exec(suite ?? "") ?? [];
    const fits = kind === "Packages" && component === "main" && debianReleases.includes(codename);
    if (fits && uri !== undefined) lines.add(`deb ${uri} ${release}${pocket} main`);
  }
  return [...lines].some((line) => line.endsWith(` ${release} main`)) ? [...lines] : [];
}

async function bootstrap(args: readonly string[], options: StepOptions): Promise<void> {
  try {
    await step("mmdebstrap", args, options);
  } catch (error) {
    // An older machine's keyring does not know the release's keys; its own, signed, archive has the newer keyring.
    const unknownKey = error instanceof StepError && /NO_PUBKEY|not signed|no keyring/i.test(error.logTail);
    if (!unknownKey) throw error;
    try {
      await run("apt-get", ["update"]);
      await run("apt-get", ["install", "-y", "--no-install-recommends", "debian-archive-keyring"]);
    } catch (cause) {
      throw new UserError(
        `The keys of Debian ${release} are not on this machine, and debian-archive-keyring cannot be installed: ` +
          `${message(cause)}\nInstall it from a source that you trust, then run the same command again.`,
      );
    }
    await step("mmdebstrap", args, options);
  }
}
