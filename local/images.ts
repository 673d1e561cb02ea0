/**
 * The container images that the stack runs, in the cache directory as tars that any containerd or kind imports. Where a
 * Docker on this machine can pull, only our own images are built; elsewhere all are, from Debian and npm packages.
 */
import { mkdir, readdir, rm, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ownImages } from "../components/images.ts";
import { buildsImages, namedImages } from "./devSettings.ts";
import { ensureBase } from "./images/base.ts";
import { buildImages, removeTags, type Workshop } from "./images/build.ts";
import {
  baseImage,
  isRun,
  missing,
  sources,
  tools,
  type ImageSource,
  type World,
} from "./images/catalogue.ts";
import { plan, type PlannedImage } from "./images/contents.ts";
import { removePrivateDocker, withPrivateDocker, type DockerClient } from "./images/privateDocker.ts";
import { Progress, StepError } from "./images/steps.ts";
import { withLock } from "./lock.ts";
import {
  cacheDirectory,
  exists,
  findCommand,
  lastLines,
  message,
  readIfPresent,
  requireRoot,
  run,
  say,
  UserError,
} from "./system.ts";

export interface LocalImages {
  /** Logical name → reference of an image that was built here; a name that is absent has its upstream image. */
  readonly images: Readonly<Record<string, string>>;
  /** Saved images, to be imported into the cluster's node, in the order of `images`. */
  readonly tars: readonly string[];
  /** Logical name → why there is no such image here. */
  readonly missing: Readonly<Record<string, string>>;
}

const gibibyte = 1024 ** 3;
/** With every stage and layer of a first build. */
const neededGiB = 5;
const answerSeconds = 10;
const pullSeconds = 120;

/**
 * Builds what is not built yet and says where it is; takes a second or two when everything is there. What dev's committed file
 * names is not built.
 * @param signal - ends it when aborted
 */
export async function ensureImages(signal?: AbortSignal): Promise<LocalImages> {
  const named = await namedImages();
  const wanted: Wanted = (world) => sources(world).filter(({ name }) => !(name in named));
  const { world, planned } = (await finished(wanted)) ?? (await build(wanted, signal));
  const run = planned.filter(({ source }) => isRun(source));
  return {
    images: Object.fromEntries(run.map(({ source, reference }) => [source.name, reference])),
    tars: run.map(tarPath),
    missing: Object.fromEntries(Object.entries(missing(world)).filter(([name]) => !(name in named))),
  };
}

/**
 * Those of a cluster that was there before, to which nothing that is built here comes: none.
 * @throws {UserError} unless dev's committed file names all that have no upstream.
 */
export async function requireNamedImages(context: string): Promise<LocalImages> {
  const named = await namedImages();
  const lacking = Object.keys(ownImages).filter((name) => !(name in named));
  if (lacking.length === 0 || (await buildsImages())) return { images: {}, tars: [], missing: {} };
  throw new UserError(
    `Pulumi.dev.yaml names the cluster of the context "${context}", which gets no image from this machine, and does not name ` +
      `${lacking.map((name) => `groundwork:images.${name}`).join(", ")}. \`make push-images REGISTRY=…\` pushes them to a registry ` +
      "that it pulls from, and prints what to name. Nothing was made.",
  );
}

/** An image that only one command runs: built here where the stack's are, else its upstream. */
export async function ensureTool(name: keyof typeof tools): Promise<Pick<LocalImages, "images" | "tars">> {
  const { source, upstream } = tools[name];
  const wanted: Wanted = (world) => (world === "packages" ? [source] : []);
  const { planned } = (await finished(wanted)) ?? (await build(wanted));
  return { images: { [name]: planned[0]?.reference ?? upstream }, tars: planned.map(tarPath) };
}

/** Removes all images and what made them. */
export async function removeImages(): Promise<void> {
  await withLock("images", async () => {
    await removePrivateDocker(privateDirectory());
    if ((await chosenBefore()) === "docker") await removeTags(await machineDocker(), "groundwork/*");
    await rm(directory(), { recursive: true, force: true });
  });
}

interface Outcome {
  readonly world: World;
  readonly planned: readonly PlannedImage[];
}

type Wanted = (world: World) => readonly ImageSource[];

function directory(): string {
  return join(cacheDirectory(), "images");
}

function privateDirectory(): string {
  return join(directory(), "docker");
}

function tarPath(image: PlannedImage): string {
  return join(directory(), image.tarName);
}

/** The choice of an earlier run, which later ones keep to: images of both kinds in one stack help nobody. */
async function chosenBefore(): Promise<World | undefined> {
  const text = (await readIfPresent(join(directory(), "world")))?.trim();
  return text === "docker" || text === "packages" ? text : undefined;
}

/** What an earlier run made, if it is all there and still what the sources say. */
async function finished(wanted: Wanted): Promise<Outcome | undefined> {
  const world = await chosenBefore();
  if (world === undefined) return undefined;
  const planned = await plan(wanted(world), world);
  const run = planned.filter(({ source }) => isRun(source));
  const present = await Promise.all(run.map((image) => exists(tarPath(image))));
  return present.every(Boolean) ? { world, planned } : undefined;
}

async function build(wanted: Wanted, signal = new AbortController().signal): Promise<Outcome> {
  return withLock("images", async () => {
    await mkdir(directory(), { recursive: true });
    const leftovers = (await readdir(directory())).filter((file) => file.endsWith(".partial"));
    for (const file of leftovers) await rm(join(directory(), file));
    const world = await choose();
    const planned = await plan(wanted(world), world);
    await requireSpace();
    const progress = new Progress();
    try {
      if (world === "docker") await buildWithDocker(planned, progress, signal);
      else await buildFromPackages(planned, progress, signal);
    } catch (error) {
      throw explain(error);
    } finally {
      progress.stop();
    }
    return { world, planned };
  });
}

async function choose(): Promise<World> {
  const before = await chosenBefore();
  const obstacle = before === "packages" ? "an earlier run did so" : await dockerObstacle();
  // Before the choice is written down: a Docker that is started now is one for the next run.
  if (obstacle !== undefined)
    requireRoot(
      `All images are built here, by a Docker daemon of our own that needs root, because ${obstacle}`,
      "or start a Docker that can pull, after `make clean` where there were images",
    );
  if (before === "packages") return before;
  const world = obstacle === undefined ? "docker" : "packages";
  if (obstacle === undefined) say("images: this machine's Docker builds ours; the cluster pulls all others");
  else say(`images: all built from Debian and npm packages, because ${obstacle}`);
  await writeFile(join(directory(), "world"), `${world}\n`);
  return world;
}

/** Why this machine's own Docker cannot be used; undefined when it can. */
async function dockerObstacle(): Promise<string | undefined> {
  if ((await findCommand("docker")) === undefined) return "there is no Docker here";
  try {
    const signal = AbortSignal.timeout(answerSeconds * 1000);
    await run("docker", ["version", "--format", "{{.Server.Version}}"], { signal });
  } catch {
    return "no Docker daemon answers here";
  }
  try {
    await run("docker", ["pull", "--quiet", baseImage], { signal: AbortSignal.timeout(pullSeconds * 1000) });
    return undefined;
  } catch (error) {
    return `this machine's Docker cannot pull ${baseImage} (${lastLines(message(error), 1)})`;
  }
}

async function machineDocker(): Promise<DockerClient> {
  return { command: (await findCommand("docker")) ?? "docker", env: process.env };
}

async function buildWithDocker(
  planned: readonly PlannedImage[],
  progress: Progress,
  signal: AbortSignal,
): Promise<void> {
  const client = await machineDocker();
  const workshop: Workshop = { client, directory: directory(), privateDaemon: false, progress, signal };
  await buildImages(planned, workshop);
}

async function buildFromPackages(
  planned: readonly PlannedImage[],
  progress: Progress,
  ending: AbortSignal,
): Promise<void> {
  await withPrivateDocker(privateDirectory(), ending, async (client, signal) => {
    const workshop: Workshop = { client, directory: directory(), privateDaemon: true, progress, signal };
    await ensureBase(workshop);
    await buildImages(planned, workshop);
  });
}

async function requireSpace(): Promise<void> {
  const { bavail, bsize } = await statfs(directory());
  const free = (bavail * bsize) / gibibyte;
  if (free >= neededGiB) return;
  throw new UserError(
    `Building images needs ${neededGiB} GiB of disk; ${directory()} has ${free.toFixed(1)} GiB free. ` +
      "Make room, or set GROUNDWORK_CACHE to a directory on a larger disk, then run the same command again.",
  );
}

/** What a failed command means to the person who ran it. */
function explain(error: unknown): unknown {
  if (!(error instanceof StepError)) return error;
  const causes: readonly (readonly [RegExp, string])[] = [
    [/no space left on device/i, "The disk is full: make room"],
    [
      /could not resolve|temporary failure|failed to fetch|unable to fetch|connection (reset|timed out|refused)|ECONN|ETIMEDOUT/i,
      "A package source stopped answering: check the network",
    ],
  ];
  const [, cause = "Its last lines say why"] = causes.find(([pattern]) => pattern.test(error.logTail)) ?? [];
  return new UserError(
    `images: ${error.message}.\n${error.logTail}\nAll of its log: ${error.logFile}\n` +
      `${cause}; then run the same command again: what is built so far is kept.`,
  );
}
