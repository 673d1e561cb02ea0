/** Builds planned images with a Docker client and saves each as a tar. */
import { copyFile, mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { buildGoTool, fetchGoSource } from "../gotools.ts";
import { exists, findCommand, tryRun, UserError } from "../system.ts";
import { isRun, type ImageSource } from "./catalogue.ts";
import type { PlannedImage } from "./contents.ts";
import type { DockerClient } from "./privateDocker.ts";
import { limiter, step, type Progress, type StepOptions } from "./steps.ts";

export interface Workshop {
  readonly client: DockerClient;
  /** Where tars, logs and intermediate files go. */
  readonly directory: string;
  /** The daemon is the private one, which has no network (builds use the machine's) and keeps no failed containers. */
  readonly privateDaemon: boolean;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

/** For tar: readable by all, whoever cloned with whatever umask. */
const ownedByRoot = ["--owner=0", "--group=0", "--numeric-owner", "--mode=u+rw,go-w,a+rX"];

// Two cores: while one build waits for the network or the disk, another computes.
const concurrentBuilds = 2;

/** Builds those of the images that have no tar yet, parents first, two at a time. */
export async function buildImages(planned: readonly PlannedImage[], workshop: Workshop): Promise<void> {
  const limit = limiter(concurrentBuilds);
  const started = new Map<string, Promise<void>>();
  const build = (image: PlannedImage): Promise<void> => {
    const running = started.get(image.source.name);
    if (running !== undefined) return running;
    const parents = planned.filter(({ source }) =>
      Object.values(image.source.parents ?? {}).includes(source.name),
    );
    const work = Promise.all(parents.map(build)).then(() => limit(() => buildOne(image, planned, workshop)));
    started.set(image.source.name, work);
    return work;
  };
  const lacking: PlannedImage[] = [];
  for (const image of planned.filter(({ source }) => isRun(source))) {
    if (!(await exists(join(workshop.directory, image.tarName)))) lacking.push(image);
  }
  // All are waited for: the first failure must not leave a build running behind a stopped daemon.
  const outcomes = await Promise.allSettled(lacking.map(build));
  for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
}

async function buildOne(
  image: PlannedImage,
  planned: readonly PlannedImage[],
  workshop: Workshop,
): Promise<void> {
  const { source, reference } = image;
  const { client, directory } = workshop;
  workshop.signal.throwIfAborted();
  const logFile = join(directory, `${source.name}.log`);
  const options: StepOptions = { logFile, env: client.env, signal: workshop.signal };
  const inspect = await tryRun(client.command, [...hostOption(client), "image", "inspect", reference]);
  if (inspect !== undefined && !isRun(source)) return;
  // Says itself how far it is, and takes longer than the image around it.
  const { goProgram } = source;
  if (inspect === undefined && goProgram) await buildGoTool(goProgram.module, goProgram.program);
  await workshop.progress.during(source.name, source.expectedSeconds, async () => {
    await writeFile(logFile, "");
    if (inspect === undefined) {
      const context = await packContext(image, directory, options);
      await step(client.command, buildArguments(image, planned, workshop), {
        ...options,
        inputFile: context,
      });
      await rm(context);
    }
    if (isRun(source)) await save(image, workshop, options);
  });
  await removeOlder(image, workshop);
}

function buildArguments(image: PlannedImage, planned: readonly PlannedImage[], workshop: Workshop): string[] {
  const buildArguments: string[] = [];
  for (const [name, parent] of Object.entries(image.source.parents ?? {})) {
    const reference = planned.find(({ source }) => source.name === parent)?.reference;
    if (reference !== undefined) buildArguments.push("--build-arg", `${name}=${reference}`);
  }
  // Docker knows these without a declaration and takes their values from the environment.
  for (const name of ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"]) {
    if (process.env[name] !== undefined) buildArguments.push("--build-arg", name);
  }
  const own = workshop.privateDaemon ? ["--network=host", "--force-rm"] : [];
  return ["build", ...own, "--tag", image.reference, ...buildArguments, "-"];
}

/** Exactly the files that the content hash covers. */
async function packContext(image: PlannedImage, directory: string, options: StepOptions): Promise<string> {
  const { source, files } = image;
  const tar = join(directory, `${source.name}-context.tar.partial`);
  const list = join(directory, `${source.name}-context.list.partial`);
  await writeFile(list, files.join("\0"));
  const contents = ["--directory", source.context, "--null", "--verbatim-files-from", "--files-from", list];
  const staged =
    source.npmPaths === undefined ? [] : ["--directory", await stageNpm(source, directory, options)];
  const built = source.goProgram;
  const program = built && ["--directory", await buildGoTool(built.module, built.program), built.program];
  const fetched = source.goSource;
  const sources = fetched && [
    "--directory",
    await fetchGoSource(fetched.module, fetched.path),
    ...fetched.entries,
  ];
  await step(
    "tar",
    [
      "--create",
      "--file",
      tar,
      ...ownedByRoot,
      ...contents,
      ...staged,
      ...(source.npmPaths ?? []),
      ...(program ?? []),
      ...(sources ?? []),
    ],
    options,
  );
  await rm(list);
  return tar;
}

async function stageNpm(source: ImageSource, directory: string, options: StepOptions): Promise<string> {
  const npm = await findCommand("npm");
  if (npm === undefined)
    throw new UserError("npm is not on PATH: install Node.js with npm, then run this again.");
  const stage = join(directory, "npm", source.name);
  await mkdir(stage, { recursive: true });
  for (const file of ["package.json", "package-lock.json"])
    await copyFile(join(source.context, file), join(stage, file));
  const { signal, logFile } = options;
  await step(npm, ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], { cwd: stage, signal, logFile });
  return stage;
}

async function save(image: PlannedImage, workshop: Workshop, options: StepOptions): Promise<void> {
  const tar = join(workshop.directory, image.tarName);
  await step(workshop.client.command, ["save", "--output", `${tar}.partial`, image.reference], options);
  await rename(`${tar}.partial`, tar);
}

/** Earlier builds of the same image: their tars and tags; the layers that both share stay. */
async function removeOlder(image: PlannedImage, workshop: Workshop): Promise<void> {
  const { client, directory } = workshop;
  const pattern = new RegExp(`^${image.source.name}-[0-9a-f]{12}\\.tar$`);
  for (const file of await readdir(directory)) {
    if (pattern.test(file) && file !== image.tarName) await rm(join(directory, file));
  }
  const [repository = ""] = image.reference.split(":");
  await removeTags(client, repository, image.reference);
}

/** Removes Docker's images whose repository matches, but for the reference to keep. */
export async function removeTags(client: DockerClient, repository: string, keep = ""): Promise<void> {
  const host = hostOption(client);
  const list = ["image", "ls", "--format", "{{.Repository}}:{{.Tag}}", repository];
  const tags = (await tryRun(client.command, [...host, ...list])) ?? "";
  for (const tag of tags.split("\n").filter((line) => line !== "" && line !== keep))
    await tryRun(client.command, [...host, "image", "rm", tag]);
}

/** For commands that do not get the client's whole environment. */
export function hostOption(client: DockerClient): string[] {
  const host = client.env["DOCKER_HOST"];
  return host === undefined ? [] : ["--host", host];
}
