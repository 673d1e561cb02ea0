/** `make up`, `make down` and what else changes the stack on this machine. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { keepChoices } from "./choices.ts";
import {
  currentCluster,
  ensureCluster,
  existingCluster,
  loadImages,
  removeCluster,
  type Cluster,
} from "./cluster.ts";
import { configure } from "./configure.ts";
import { edgeUrl, namedImages } from "./devSettings.ts";
import { preparedEngine, prepareEngine } from "./engine.ts";
import { buildGoTool } from "./gotools.ts";
import { caPath } from "./identity.ts";
import { ensureImages, removeImages, requireNamedImages, type LocalImages } from "./images.ts";
import { withLock } from "./lock.ts";
import { recover } from "./recover.ts";
import {
  isInitialized,
  makesCluster,
  policyArguments,
  prepareStack,
  projectDirectory,
  pulumi,
  pulumiOutput,
  requireStack,
  type Engine,
  writeProject,
} from "./stack.ts";
import { secretPlaceholders } from "./stackValues.ts";
import { showStatus } from "./status.ts";
import { cacheDirectory, say, UserError } from "./system.ts";
import { together } from "./together.ts";
import { writeWrappers } from "./wrappers.ts";

export interface World {
  readonly engine: Engine;
  readonly cluster: Cluster;
  readonly images: LocalImages;
}

const stack = "dev";

/** Engine, cluster and images, made or found; the stack itself is not touched. */
export async function prepare(): Promise<World> {
  const found = await existingCluster();
  const named = found && (await imagesFor(found));
  // Images wait for packages while the node's parts keep the processors busy.
  const [[cluster, engine], images] = await together(
    () => ensureCluster(found).then(async (made) => [made, await ensureEngine()] as const),
    async (signal) => named ?? ensureImages(signal),
  );
  await loadImages(cluster, images);
  for (const [name, reason] of Object.entries(images.missing))
    say(`left out of this run: ${name} (${reason})`);
  return { engine, cluster, images };
}

/** Images of a cluster that is there, as `make up` would have them. */
export function imagesFor({ kind, context }: Cluster): Promise<LocalImages> {
  return kind === "existing" ? requireNamedImages(context) : ensureImages();
}

export async function ensureEngine(): Promise<Engine> {
  const engine = await prepareEngine({
    buildPulumi: async () => join(await buildGoTool("pulumi"), "pulumi"),
  });
  await writeWrappers(engine);
  return engine;
}

/** The engine that the last `make up` chose, without a word. */
export async function knownEngine(): Promise<Engine> {
  const engine = await preparedEngine();
  if (engine === undefined) throw new UserError("There is no Pulumi engine yet. Run `make up` first.");
  return engine;
}

/** `make up`: everything from nothing, or whatever is missing. */
export function up(): Promise<void> {
  return withLock("stack", async () => {
    const started = Date.now();
    const world = withKubeconfig(await prepare());
    await configure(world);
    await keepChoices();
    await pulumiUp(world);
    say(`\nThe dev stack is up, after ${Math.round((Date.now() - started) / 1000)} s:\n`);
    await showStatus(world.cluster.kubeconfig, world.cluster.context);
    say(summary(world, await edgeUrl()));
  });
}

/** `make dev`: the app's image from its present source, rolled out. */
export function dev(): Promise<void> {
  return withLock("stack", async () => {
    const started = Date.now();
    const cluster = await currentCluster();
    if ("app" in (await namedImages()))
      throw new UserError(
        "Pulumi.dev.yaml names groundwork:images.app, so app/ is not built: take that out there, or give it another image and `make up`.",
      );
    const engine = await knownEngine();
    const images = await imagesFor(cluster);
    await loadImages(cluster, images);
    const world = withKubeconfig({ engine, cluster, images });
    await configure(world);
    await pulumiUp(world);
    say(`The edit runs after ${Math.round((Date.now() - started) / 1000)} s.`);
  });
}

/** Also where the last one was killed. */
export async function pulumiUp({ engine, cluster }: Omit<World, "images">): Promise<void> {
  await recover(engine, stack, cluster.kubeconfig, cluster.context);
  const code = await pulumi(engine, ["up", "--yes", "--skip-preview", "--stack", stack]);
  if (code !== 0) {
    throw new UserError(
      "pulumi up failed; the messages above say why. Mend it, then run the same command again.",
    );
  }
}

/** `make down`: destroys the stack; node and caches stay. */
export function down(): Promise<void> {
  return withLock("stack", async () => {
    if (!(await isInitialized(stack))) {
      say("There is no dev stack.");
      return;
    }
    // The machine may have been restarted since: what is to be destroyed must answer.
    const cluster = await ensureCluster(await existingCluster());
    // Of this checkout: the one that the stack was made from may be gone.
    await writeProject(projectDirectory());
    const world = withKubeconfig({ engine: await ensureEngine(), cluster });
    await recover(world.engine, stack, cluster.kubeconfig, cluster.context);
    const code = await pulumi(world.engine, ["destroy", "--yes", "--skip-preview", "--stack", stack]);
    if (code !== 0)
      throw new UserError("pulumi destroy failed; the messages above say why. Run the same command again.");
  });
}

/** `make clean`: the machine as it was before. */
export function clean(): Promise<void> {
  return withLock("stack", async () => {
    const cluster = await removeCluster();
    await removeImages();
    await rm(cacheDirectory(), { recursive: true, force: true });
    const left =
      cluster?.kind === "existing" ? ` What is on the cluster ${cluster.context} stays there.` : "";
    say(`Removed ${cacheDirectory()}, the stack's state in it, and every cluster made from it.${left}`);
  });
}

/**
 * `make preview`: what an `up` would change, and whether the policy pack allows it. A stack of another cluster is compared
 * with this machine's.
 */
export function preview(name: string): Promise<number> {
  return withLock("stack", async () => {
    await requireStack(name);
    const world = withKubeconfig(await prepare());
    if (name === stack) await configure(world);
    else {
      const { context } = world.cluster;
      const settings = (await makesCluster(name)) ? {} : { "groundwork:cluster": { context } };
      await prepareStack(world.engine, name, settings, await secretPlaceholders(name));
    }
    const policy = await policyArguments(name, projectDirectory());
    return pulumi(world.engine, ["preview", "--stack", name, ...policy]);
  });
}

export function withKubeconfig<T extends { readonly engine: Engine; readonly cluster: Cluster }>(
  world: T,
): T {
  const { engine, cluster } = world;
  return { ...world, engine: { ...engine, env: { ...engine.env, KUBECONFIG: cluster.kubeconfig } } };
}

/** The stack's state as JSON; secrets stay encrypted. */
export async function exportState(): Promise<string> {
  return pulumiOutput(await knownEngine(), ["stack", "export", "--stack", stack]);
}

function summary({ cluster, images }: World, url: string): string {
  const grafana = "grafana" in images.missing ? "" : ", Grafana";
  return `
It runs on ${cluster.kind === "node" ? "this machine's own node" : `the cluster ${cluster.context}`}: nginx with TLS and rate limits, the app, Postgres, two Redis,
Prometheus, Alertmanager${grafana}, and an hourly encrypted backup.

  edge   ${url}
  CA     ${caPath()}

Try next:
  curl --cacert $(make -s ca) $(make -s url)/ready
  TOKEN=$(make -s token ROLE=editor TENANT=acme)
  curl --cacert $(make -s ca) -H "Authorization: Bearer $TOKEN" $(make -s url)/api/v2/documents
  make status          # one look at every workload
  eval "$(make -s env)" # then plain pulumi and kubectl
  make down            # and it is gone
`;
}
