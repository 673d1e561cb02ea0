/** What an `up` that was killed, or a disaster, leaves behind: a lock, operations and losses of which the engine does not know. */
import { readdir, readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ApiException, KubeConfig, KubernetesObjectApi } from "@kubernetes/client-node";
import { projectName, pulumiOutput, type Engine } from "./stack.ts";
import { say, tryRun, UserError } from "./system.ts";

interface Lock {
  readonly pid: number;
  readonly hostname: string;
}

interface StateResource {
  readonly urn: string;
  readonly id?: string;
  readonly initErrors?: readonly string[] | null;
  /** Was replaced, and is still to be deleted. */
  readonly delete?: boolean;
  /** Was deleted, and is still to be made anew. */
  readonly pendingReplacement?: boolean;
  readonly inputs?: {
    readonly apiVersion?: string;
    readonly kind?: string;
    readonly metadata?: { readonly name?: string; readonly namespace?: string };
  };
}

interface ExportedState {
  readonly deployment: {
    resources?: object[];
    pending_operations?: { readonly type: string; readonly resource: StateResource }[] | null;
  };
}

/**
 * Clears a dead run's lock, settles its pending operations and has the next `up` run its unfinished Jobs again and make the stateful
 * sets that are gone, so that this `up` finishes the work.
 */
export async function recover(
  engine: Engine,
  stack: string,
  kubeconfig: string,
  context: string,
): Promise<void> {
  await releaseDeadLock(engine, stack);
  const state = JSON.parse(
    await pulumiOutput(engine, ["stack", "export", "--stack", stack]),
  ) as ExportedState;
  const pending = state.deployment.pending_operations ?? [];
  if (pending.length > 0) {
    await settle(state, kubeconfig, context);
    await pulumiOutput(engine, ["stack", "import", "--stack", stack], JSON.stringify(state));
  }
  const lost = await lostSets(state, kubeconfig, context);
  const why = lost.length > 0 ? "did its work in what is lost" : "was not seen to succeed in the last run";
  for (const { urn } of lost.length > 0 ? jobs(state) : jobs(state).filter(unfinished)) {
    say(`state: ${urn.split("::").at(-1) ?? urn} ${why}, and is run again`);
    await pulumiOutput(engine, ["state", "taint", "--yes", "--stack", stack, urn]);
  }
  if (lost.length === 0) return;
  say(
    `state: lost from the cluster, and made again: ${lost.map(({ id }) => id).join(", ")}. Where the volumes are lost, too, docs/data.md ` +
      "says how to restore the data.",
  );
  // Last: from here on the engine does not know of them, and nothing else would tell that Jobs are to be run again.
  const targets = lost.flatMap(({ urn }) => ["--target", urn]);
  await pulumiOutput(engine, ["refresh", "--yes", "--skip-preview", "--stack", stack, ...targets]);
}

/** Takes what was made by interrupted operations into the state, and forgets the operations. */
async function settle({ deployment }: ExportedState, kubeconfig: string, context: string): Promise<void> {
  const pending = deployment.pending_operations ?? [];
  say(
    `state: the last run was interrupted in ${pending.length} operation(s); looking at what became of them`,
  );
  const api = apiOf(kubeconfig, context);
  for (const { type, resource } of pending) {
    const id = type === "creating" ? await existingId(api, resource) : undefined;
    if (id === undefined) continue;
    deployment.resources = withCreated((deployment.resources ?? []) as StateResource[], resource, id);
  }
  // `refresh --import-pending-creates` is meant for this, but (CLI 3.259, local backend) it only forgets the operations.
  deployment.pending_operations = [];
}

/** The state's resources with one that was created; it takes the place of what it was to replace. */
export function withCreated(
  resources: readonly StateResource[],
  created: StateResource,
  id: string,
): StateResource[] {
  // The note of an unfinished initialization makes the next `up` wait for it, as it would have.
  const initErrors = ["its creation was interrupted"];
  // The provider compares what is wanted with the inputs that it has kept among the outputs.
  const outputs = { ...created.inputs, __inputs: created.inputs };
  const made = { ...created, id, outputs, initErrors };
  const isBefore = (resource: StateResource) => resource.urn === created.urn && resource.delete !== true;
  const before = resources.find(isBefore);
  if (before === undefined) return [...resources, made];
  const others = resources.map((resource) => (resource === before ? made : resource));
  // What was deleted first is gone already, and an object of the same name is the same object.
  return before.pendingReplacement || before.id === id ? others : [...others, { ...before, delete: true }];
}

const ofKind = ({ deployment }: ExportedState, kind: string): StateResource[] =>
  ((deployment.resources ?? []) as StateResource[]).filter(
    ({ inputs, delete: replaced }) => inputs?.kind === kind && !replaced,
  );

const jobs = (state: ExportedState): StateResource[] => ofKind(state, "Job");

/** One that has failed stays so, and would fail every `up` whatever was mended. */
const unfinished = ({ initErrors }: StateResource): boolean => (initErrors?.length ?? 0) > 0;

/** Stateful sets that the state has and the cluster has not: an `up` compares with the state, and would make none of them again. */
async function lostSets(state: ExportedState, kubeconfig: string, context: string): Promise<StateResource[]> {
  const sets = ofKind(state, "StatefulSet").filter(({ pendingReplacement }) => !pendingReplacement);
  if (sets.length === 0) return [];
  const api = apiOf(kubeconfig, context);
  const ids = await Promise.all(sets.map((set) => existingId(api, set)));
  return sets.filter((_, index) => ids[index] === undefined);
}

function apiOf(kubeconfig: string, context: string): KubernetesObjectApi {
  const cluster = new KubeConfig();
  cluster.loadFromFile(kubeconfig);
  cluster.setCurrentContext(context);
  return KubernetesObjectApi.makeApiClient(cluster);
}

/** The id of a Kubernetes object that was made although the engine never heard of it. */
async function existingId(api: KubernetesObjectApi, { inputs }: StateResource): Promise<string | undefined> {
  const { apiVersion, kind, metadata } = inputs ?? {};
  if (apiVersion === undefined || kind === undefined || metadata?.name === undefined) return undefined;
  const { name, namespace } = metadata;
  try {
    await api.read({ apiVersion, kind, metadata: { name, ...(namespace !== undefined && { namespace }) } });
    return namespace === undefined ? name : `${namespace}/${name}`;
  } catch (error) {
    if (error instanceof ApiException && error.code === 404) return undefined;
    throw error;
  }
}

async function releaseDeadLock(engine: Engine, stack: string): Promise<void> {
  const backend = fileURLToPath(engine.env["PULUMI_BACKEND_URL"] ?? "");
  const directory = join(backend, ".pulumi", "locks", "organization", projectName, stack);
  // Beside each lock the backend keeps attributes of its file.
  const files = (await readdir(directory).catch(() => [])).filter((file) => file.endsWith(".json"));
  if (files.length === 0) return;
  const locks = await Promise.all(
    files.map(async (file) => JSON.parse(await readFile(join(directory, file), "utf8")) as Lock),
  );
  const held = await Promise.all(
    locks.map(async (lock) => lock.hostname !== hostname() || (await isPulumi(lock.pid))),
  );
  const holder = locks[held.indexOf(true)];
  if (holder !== undefined) {
    throw new UserError(
      `Process ${holder.pid} on ${holder.hostname} is changing the stack "${stack}"; wait for it to end.`,
    );
  }
  say(`state: process ${locks[0]?.pid ?? ""} died while it changed the stack; releasing its lock`);
  await pulumiOutput(engine, ["cancel", "--yes", "--stack", stack]);
}

/** After a reboot the number may be another program's. */
async function isPulumi(pid: number): Promise<boolean> {
  const name =
    process.platform === "linux"
      ? await readFile(`/proc/${pid}/comm`, "utf8").catch(() => undefined)
      : await tryRun("ps", ["-o", "comm=", "-p", String(pid)]);
  return name?.includes("pulumi") ?? false;
}
