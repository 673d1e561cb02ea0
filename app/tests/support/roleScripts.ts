/** The scripts that make the database's roles, as their pods have them, but in a directory of the test's. */
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const manifests = join(import.meta.dirname, "../../../k8s-manifests");
const accounts = ["owner", "app", "readonly", "backup"];

/** Settings of a server that writes down whatever it can of the statements that it is sent. */
export const writesEverythingDown = [
  "shared_preload_libraries=pg_stat_statements",
  "pg_stat_statements.track_utility=on",
  "log_statement=all",
  "log_min_duration_statement=0",
];

/** Copies these files, or those of these folders, into a new directory; `moved`: what they name → what that is here. */
export async function copyScripts(
  sources: readonly string[],
  moved: (directory: string) => Record<string, string>,
): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "groundwork-roles-"));
  for (const source of sources) {
    const target = /\.\w+$/.test(source) ? join(directory, source.replace(/.*\//, "")) : directory;
    await cp(join(manifests, source), target, { recursive: true });
  }
  for (const name of await readdir(directory)) {
    let text = await readFile(join(directory, name), "utf8");
    for (const [from, to] of Object.entries({
      "/run/secrets/groundwork": directory,
      ...moved(directory),
    })) {
      text = text.replaceAll(from, to);
    }
    await writeFile(join(directory, name), text);
  }
  return directory;
}

/** Mounts these passwords and no others: the roles' own, and those of their deputies. */
export async function mountPasswords(directory: string, own?: string, deputys?: string): Promise<void> {
  const monitoring = own ?? deputys;
  if (monitoring !== undefined) await writeFile(join(directory, "monitoring-password"), monitoring);
  for (const account of accounts) {
    for (const [suffix, value] of [
      ["", own],
      ["-2", deputys],
    ] as const) {
      const file = join(directory, `${account}-password${suffix}`);
      await (value === undefined ? rm(file, { force: true }) : writeFile(file, value));
    }
  }
}
