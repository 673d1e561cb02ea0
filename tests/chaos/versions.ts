/** Other versions of the app: its own image with a module that is loaded before it, so that they need no build. */
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { importImages, pruneImages } from "../../local/node/node.ts";
import { cacheDirectory, exists, run } from "../../local/system.ts";

/** By this header a response of such a version is known. */
export const versionHeader = "x-served-by";

const ofDocuments = (body: string): string => `
const { default: pg } = await import("file:///app/node_modules/pg/lib/index.js");
const query = pg.Client.prototype.query;
pg.Client.prototype.query = function (...given) {
  const text = typeof given[0] === "string" ? given[0] : given[0]?.text;
  if (!/documents/.test(text ?? "")) return query.apply(this, given);
  ${body}
};`;

/** What each does otherwise than the stack's own version, in its server or in its migrations. */
const changes = {
  good: { in: "server", change: "" },
  errors: { in: "server", change: ofDocuments('return Promise.reject(new Error("a bad release"));') },
  slow: {
    in: "server",
    change: ofDocuments(
      "return new Promise((wait) => setTimeout(wait, 1500)).then(() => query.apply(this, given));",
    ),
  },
  crashing: { in: "server", change: "setTimeout(() => process.exit(1), 25_000);" },
  failingStart: { in: "server", change: 'throw new Error("this version does not start");' },
  failingMigration: { in: "migrate", change: 'throw new Error("this migration fails");' },
} as const;
export type VersionName = keyof typeof changes;

const prefix = "groundwork-release-test/";
const configShape = z.looseObject({ config: z.looseObject({ Env: z.array(z.string()) }) });

/** Puts them on this machine's node; gives their images. The references are removed by `removeVersions`. */
export async function makeVersions(image: string): Promise<Record<VersionName, string>> {
  const tag = image.split(":").at(-1) ?? "";
  const saved = join(cacheDirectory(), "images", `app-${tag}.tar`);
  if (!(await exists(saved)))
    throw new Error(`${saved} is not there: releases are tried with an image that this machine built`);
  const directory = await mkdtemp(join(tmpdir(), "groundwork-versions-"));
  try {
    await run("tar", ["--extract", "--file", saved, "--directory", directory]);
    const [original] = z
      .array(z.looseObject({ Config: z.string() }))
      .length(1)
      .parse(JSON.parse(await readFile(join(directory, "manifest.json"), "utf8")));
    const config = configShape.parse(
      JSON.parse(await readFile(join(directory, original?.Config ?? ""), "utf8")),
    );
    const manifests = [];
    for (const [name, change] of Object.entries(changes)) {
      const text = JSON.stringify(withPreload(config, name, change));
      const file = `${createHash("sha256").update(text).digest("hex")}.json`;
      await writeFile(join(directory, file), text);
      manifests.push({ ...original, Config: file, RepoTags: [`${prefix}${name.toLowerCase()}:${tag}`] });
    }
    await writeFile(join(directory, "manifest.json"), JSON.stringify(manifests));
    await rm(join(directory, "repositories"), { force: true });
    const tar = `${directory}.tar`;
    await run("tar", ["--create", "--file", tar, "--directory", directory, ...(await readdir(directory))]);
    try {
      await importImages([tar]);
    } finally {
      await rm(tar);
    }
  } finally {
    await rm(directory, { recursive: true });
  }
  const references = Object.keys(changes).map((name) => [
    name,
    `docker.io/${prefix}${name.toLowerCase()}:${tag}`,
  ]);
  return Object.fromEntries(references) as Record<VersionName, string>;
}

export function removeVersions(): Promise<void> {
  return pruneImages([], prefix);
}

/** The image's configuration with a module for that one of its programs alone; the others run as they are. */
function withPreload(
  config: z.infer<typeof configShape>,
  name: string,
  { in: program, change }: (typeof changes)[VersionName],
): object {
  const module = `
import { ServerResponse } from "node:http";
if (process.argv[1]?.endsWith("/${program}.js")) {
  const writeHead = ServerResponse.prototype.writeHead;
  ServerResponse.prototype.writeHead = function (...given) {
    this.setHeader("${versionHeader}", "${name}");
    return writeHead.apply(this, given);
  };
  ${change}
}`;
  const url = `data:text/javascript;base64,${Buffer.from(module).toString("base64")}`;
  return {
    ...config,
    config: { ...config.config, Env: [...config.config.Env, `NODE_OPTIONS=--import=${url}`] },
  };
}
