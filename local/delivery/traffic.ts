/** Which version serves which users: the selectors of the share Services, and the Deployment of the new version. */
import { z } from "zod";
import { message, say, UserError } from "../system.ts";
import { settingsShape, type Settings } from "./judge.ts";
import type { Target } from "./target.ts";

/** `app` is the stack's own Deployment, `app-candidate` the other version's, which is made by releases only. */
export type Slot = "app" | "app-candidate";
export const shares = [10, 40, 50] as const;
export type SharePercent = (typeof shares)[number];

const nameLabel = "app.kubernetes.io/name";
const manager = "--field-manager=groundwork-release";
const inApp = ["--namespace", "app"];

const serviceShape = z.object({
  items: z.array(
    z.object({
      metadata: z.object({ name: z.string() }),
      spec: z.object({ selector: z.record(z.string(), z.string()) }),
    }),
  ),
});

/** How many of a hundred users the candidate has. */
export async function candidatePercent({ kubectl }: Target): Promise<number> {
  const names = shares.map((percent) => `app-share-${percent}`);
  const { items } = serviceShape.parse(
    JSON.parse(await kubectl([...inApp, "get", "services", ...names, "--output=json"])),
  );
  return items
    .filter(({ spec }) => spec.selector[nameLabel] === "app-candidate")
    .reduce((sum, { metadata }) => sum + Number(metadata.name.split("-").at(-1)), 0);
}

/** New connections go there at once, those that the edge keeps within five seconds. */
export async function send(
  { kubectl }: Target,
  slot: Slot,
  which: readonly SharePercent[] = shares,
): Promise<void> {
  const patch = JSON.stringify({ spec: { selector: { [nameLabel]: slot } } });
  const services = which.map((percent) => `service/app-share-${percent}`);
  await kubectl([...inApp, "patch", ...services, "--type=merge", `--patch=${patch}`, manager]);
}

const deploymentShape = z.looseObject({
  metadata: z.looseObject({ deletionTimestamp: z.string().optional() }),
  spec: z.looseObject({
    replicas: z.number(),
    template: z.looseObject({
      spec: z.looseObject({ containers: z.array(z.looseObject({ image: z.string() })).min(1) }),
    }),
  }),
});
type Deployment = z.infer<typeof deploymentShape>;

const replicaSetsShape = z.object({
  items: z.array(
    z.object({
      spec: deploymentShape.shape.spec.pick({ template: true }),
      status: z.object({ readyReplicas: z.number().default(0) }),
    }),
  ),
});

export interface Version {
  readonly image: string;
  /** Ready pods of this image; in the middle of a rollout there are others, which count for nothing. */
  readonly ready: number;
}

/** One that is being deleted has no pods to count on, and is none. */
async function deployment({ kubectl }: Target, slot: Slot): Promise<Deployment | undefined> {
  const text = await kubectl([...inApp, "get", "deployment", slot, "--ignore-not-found", "--output=json"]);
  const found = text.trim() === "" ? undefined : deploymentShape.parse(JSON.parse(text));
  return found?.metadata.deletionTimestamp === undefined ? found : undefined;
}

const imageOf = ({ template }: Pick<Deployment["spec"], "template">): string | undefined =>
  template.spec.containers[0]?.image;

/** What a slot runs, or is on its way to; undefined when it is empty. */
export async function versionOf(target: Target, slot: Slot): Promise<Version | undefined> {
  const selector = `--selector=${nameLabel}=${slot}`;
  const [found, sets] = await Promise.all([
    deployment(target, slot),
    target.kubectl([...inApp, "get", "replicasets", selector, "--output=json"]),
  ]);
  const image = found && imageOf(found.spec);
  if (image === undefined) return undefined;
  const { items } = replicaSetsShape.parse(JSON.parse(sets));
  const ready = items
    .filter(({ spec }) => imageOf(spec) === image)
    .reduce((sum, { status }) => sum + status.readyReplicas, 0);
  return { image, ready };
}

/** The stack's own Deployment under the candidate's name, with another image: all else is as the stack made it. */
export function candidateManifest(stable: unknown, image: string): object {
  const { spec } = deploymentShape.parse(stable);
  const named = JSON.parse(
    JSON.stringify(spec).replaceAll(`"${nameLabel}":"app"`, `"${nameLabel}":"app-candidate"`),
  ) as typeof spec;
  const [first, ...others] = named.template.spec.containers;
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: {
      name: "app-candidate",
      namespace: "app",
      labels: {
        [nameLabel]: "app-candidate",
        "app.kubernetes.io/part-of": "groundwork",
        "app.kubernetes.io/managed-by": "release",
      },
    },
    spec: {
      ...named,
      template: {
        ...named.template,
        metadata: {
          labels: {
            [nameLabel]: "app-candidate",
            "app.kubernetes.io/component": "api",
            "app.kubernetes.io/part-of": "groundwork",
          },
        },
        spec: { ...named.template.spec, containers: [{ ...first, image }, ...others] },
      },
    },
  };
}

/**
 * Gives a slot as many pods as the other has, and waits so long for them: its scaler takes them away while nobody is on them,
 * and no scaler adds to a candidate's. Where nothing scales the app, it has as many as its configuration says.
 */
export async function strengthen(target: Target, slot: Slot, seconds: number): Promise<void> {
  const [own, other] = await Promise.all([
    deployment(target, slot),
    deployment(target, slot === "app" ? "app-candidate" : "app"),
  ]);
  const pods = other?.spec.replicas ?? 0;
  if (!own || own.spec.replicas >= pods) return;
  const scaler = [...inApp, "get", "horizontalpodautoscaler", "app", "--ignore-not-found", "--output=name"];
  if (slot === "app" && (await target.kubectl(scaler)).trim() === "") return;
  await target.kubectl([...inApp, "scale", `deployment/${slot}`, `--replicas=${pods}`]);
  await target.kubectl([...inApp, "rollout", "status", `deployment/${slot}`, `--timeout=${seconds}s`]);
}

/** All users to a slot at once, which has as many pods as the other by then, or nearly: no more than 15 s are waited for them. */
export async function sendBack(target: Target, slot: Slot): Promise<void> {
  await strengthen(target, slot, 15).catch((error: unknown) => {
    say(`not all pods are there yet: ${message(error).split("\n")[0] ?? ""}`);
  });
  await send(target, slot);
}

/** Runs the image beside the stack's version, with as many pods; rejects when they are not ready in time. */
export async function runCandidate(target: Target, image: string): Promise<void> {
  const stable = await deployment(target, "app");
  if (!stable) throw new UserError("The app does not run here: bring the stack up first.");
  await removeCandidate(target);
  await target.kubectl(["create", manager, "--filename=-"], JSON.stringify(candidateManifest(stable, image)));
  await target.kubectl([...inApp, "rollout", "status", "deployment/app-candidate", "--timeout=150s"]);
}

/**
 * Returns when its pods are gone: until then the edge may keep connections to them. A pod whose node is lost never says that it has
 * ended, and is forgotten by force.
 */
export async function removeCandidate({ kubectl }: Target): Promise<void> {
  const untilGone = ["--ignore-not-found", "--cascade=foreground", "--wait=true", "--timeout=60s"];
  const remove = ["delete", "deployment", "app-candidate", ...untilGone];
  await kubectl([...inApp, ...remove]).catch(async () => {
    const selector = `--selector=${nameLabel}=app-candidate`;
    await kubectl([...inApp, "delete", "pods", selector, "--force", "--grace-period=0"]);
    await kubectl([...inApp, ...remove]);
  });
}

/** Restarts of the candidate's containers, and its pods that are not ready. */
export async function candidateHealth({ kubectl }: Target): Promise<{ restarts: number; unready: number }> {
  const status = "{range .items[*].status.containerStatuses[*]}{.restartCount} {.ready}{'\\n'}{end}";
  const selector = `--selector=${nameLabel}=app-candidate`;
  const text = await kubectl([...inApp, "get", "pods", selector, `--output=jsonpath=${status}`]);
  const lines = text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.split(" "));
  return {
    restarts: lines.reduce((sum, [count]) => sum + Number(count), 0),
    unready: lines.filter(([, ready]) => ready !== "true").length + (lines.length === 0 ? 1 : 0),
  };
}

const notes = "app-release";

/** What releases remember: the image that was there before, and those that were taken back. */
export interface Memory {
  readonly previous?: string | undefined;
  readonly rejected: readonly string[];
}

export async function remembered({ kubectl }: Target): Promise<Memory> {
  const text = await kubectl([
    ...inApp,
    "get",
    "configmap",
    notes,
    "--ignore-not-found",
    "--output=jsonpath={.data.memory}",
  ]);
  const shape = z.object({ previous: z.string().optional(), rejected: z.array(z.string()) });
  return text === "" ? { rejected: [] } : shape.parse(JSON.parse(text));
}

export async function remember({ kubectl }: Target, memory: Memory): Promise<void> {
  const rejected = [...new Set(memory.rejected)].slice(-10);
  const data = { memory: JSON.stringify({ ...memory, rejected }) };
  const manifest = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: notes, namespace: "app" }, data };
  await kubectl(
    ["apply", "--server-side", "--force-conflicts", manager, "--filename=-"],
    JSON.stringify(manifest),
  );
}

/** The limits, as the stack's configuration has them. */
export async function settingsOf({ kubectl }: Target): Promise<Settings> {
  const path = "--output=jsonpath={.data.settings\\.json}";
  const text = await kubectl([...inApp, "get", "configmap", "app-release-settings", path]);
  return settingsShape.parse(JSON.parse(text));
}
