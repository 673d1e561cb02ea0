/** `make up`, `make down` and what else changes the stack on this machine. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { keepChoices } from "./choices.ts";
import { currentCluster, ensureCluster, loadImages, removeCluster, type Cluster } from "./cluster.ts";
import { preparedEngine, prepareEngine } from "./engine.ts";
import { buildGoTool } from "./gotools.ts";
import { backupKey, caPath, edgeCertificate } from "./identity.ts";
import { internalCertificates } from "./internalCertificates.ts";
import { collectsLogs } from "./images/catalogue.ts";
import { ensureImages, removeImages, type LocalImages } from "./images.ts";
import { withLock } from "./lock.ts";
import { inCluster } from "./node/layout.ts";
import { passwordSettings } from "./passwords.ts";
import { recover } from "./recover.ts";
import {
  edgePorts,
  isInitialized,
  merge,
  namedImages,
  policyArguments,
  prepareStack,
  projectDirectory,
  pulumi,
  pulumiOutput,
  requireStack,
  type Engine,
  writeProject,
} from "./stack.ts";
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
export const baseUrl = `https://localhost:${edgePorts.https}`;

/** Engine, cluster and images, made or found; the stack itself is not touched. */
export async function prepare(): Promise<World> {
  // Images wait for packages while the node's parts keep the processors busy.
  const [[cluster, engine], images] = await together(
    () => ensureCluster().then(async (made) => [made, await ensureEngine()] as const),
    ensureImages,
  );
  await loadImages(cluster, images);
  for (const [name, reason] of Object.entries(images.missing))
    say(`left out of this run: ${name} (${reason})`);
  return { engine, cluster, images };
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

/** `make up HA=1`: what production has several of, on this one node. */
function highAvailability(): Record<string, object> {
  if (process.env["HA"] !== "1") return {};
  return {
    "groundwork:app": { replicas: 2 },
    "groundwork:postgres": { members: 3 },
    "groundwork:redis": { queue: { members: 3 } },
    "groundwork:monitoring": { replicas: 2 },
  };
}

/** `make up LOGS=1`: logs and traces are collected, too. */
function collection({ kind }: Cluster): Record<string, object> {
  if (!collectsLogs()) return {};
  return {
    "groundwork:logging": {
      enabled: true,
      // As in production, so that they have to hand spans to each other.
      traces: { gateways: 2 },
      // Only a node of our own keeps them elsewhere than all others do.
      ...(kind === "node" && { podLogs: inCluster("pod-logs") }),
    },
  };
}

/** Writes what only this machine knows into its copy of the dev stack's file. */
export async function configure({ engine, cluster, images }: World): Promise<void> {
  const key = await backupKey();
  await prepareStack(
    engine,
    stack,
    merge(merge(highAvailability(), await passwordSettings()), {
      "groundwork:cluster": { context: cluster.context, apiServerCidrs: cluster.apiServerCidrs },
      "groundwork:images": images.images,
      "groundwork:edge": { trustedProxies: cluster.loopbackSources },
      ...("grafana" in images.missing && { "groundwork:monitoring": { grafana: false } }),
      "groundwork:backups": { ageRecipient: key.recipient },
      ...collection(cluster),
    }),
    {
      "groundwork:tlsBundle": await edgeCertificate(["localhost"]),
      ...(await internalCertificates()),
      "groundwork:ageIdentity": key.identity,
    },
  );
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
    say(summary(world));
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
    const images = await ensureImages();
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
    const cluster = await ensureCluster();
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
export async function preview(name: string): Promise<number> {
  await requireStack(name);
  const world = withKubeconfig(await prepare());
  if (name === stack) await configure(world);
  else await prepareStack(world.engine, name, { "groundwork:cluster": { context: world.cluster.context } });
  const policy = await policyArguments(name, projectDirectory());
  return pulumi(world.engine, ["preview", "--stack", name, ...policy]);
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

function summary({ cluster, images }: World): string {
  const grafana = "grafana" in images.missing ? "" : ", Grafana";
  return `
It runs on ${cluster.kind === "node" ? "this machine's own node" : `the cluster ${cluster.context}`}: nginx with TLS and rate limits, the app, Postgres, two Redis,
Prometheus, Alertmanager${grafana}, and an hourly encrypted backup.

  edge   ${baseUrl}
  CA     ${caPath()}

Try next:
  curl --cacert $(make -s ca) $(make -s url)/ready
  TOKEN=$(make -s token ROLE=editor TENANT=acme)
  curl --cacert $(make -s ca) -H "Authorization: Bearer $TOKEN" $(make -s url)/api/v1/documents
  make status          # one look at every workload
  eval "$(make -s env)" # then plain pulumi and kubectl
  make down            # and it is gone
`;
}
