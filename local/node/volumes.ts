/** Volumes as file systems in sparse files: each is exactly as large as its claim asks, and full when it is full. */
import { mkdir, readdir, rename, rm, truncate, writeFile } from "node:fs/promises";
import { exists, readIfPresent, run, tryRun } from "../system.ts";
import { ApiError, type Api, type KubernetesObject } from "./api.ts";
import { inCluster, nodeName } from "./layout.ts";

export const provisioner = "groundwork.local/loop";
/** XFS takes no less. It grows while it is mounted, which ext4 allows only with a capability that root does not have everywhere. */
const smallestBytes = 300 * 1024 * 1024;

export interface Claim extends KubernetesObject {
  readonly metadata: KubernetesObject["metadata"] & { readonly namespace: string; readonly uid: string };
  readonly spec: {
    readonly storageClassName?: string;
    readonly volumeName?: string;
    readonly volumeMode?: string;
    readonly accessModes: readonly string[];
    readonly resources: { readonly requests: { readonly storage: string } };
  };
}

export interface Volume extends KubernetesObject {
  readonly spec: {
    readonly persistentVolumeReclaimPolicy?: string;
    readonly capacity: { readonly storage: string };
  };
  readonly status?: { readonly phase?: string };
}

interface StorageClass extends KubernetesObject {
  readonly provisioner: string;
  readonly reclaimPolicy?: string;
}

interface List<T> {
  readonly items: readonly T[];
}

/** Gives claims that wait for a volume one, grows what is too small, and takes back what nobody claims any more. */
export async function reconcileVolumes(api: Api): Promise<void> {
  const [classes, claims, volumes] = await Promise.all([
    api.get<List<StorageClass>>("/apis/storage.k8s.io/v1/storageclasses?resourceVersion=0"),
    api.get<List<Claim>>("/api/v1/persistentvolumeclaims?resourceVersion=0"),
    api.get<List<Volume>>("/api/v1/persistentvolumes?resourceVersion=0"),
  ]);
  const ours = new Map(
    classes.items.filter((one) => one.provisioner === provisioner).map((one) => [one.metadata.name, one]),
  );
  const present = new Map(volumes.items.map((volume) => [volume.metadata.name, volume]));
  const work = claims.items.filter(
    (claim) => isWaiting(claim) && ours.has(claim.spec.storageClassName ?? ""),
  );
  const steps = [
    ...work
      .filter((claim) => !present.has(volumeName(claim)))
      .map((claim) => {
        const policy = ours.get(claim.spec.storageClassName ?? "")?.reclaimPolicy ?? "Delete";
        return () => provide(api, claim, policy);
      }),
    ...claims.items
      .filter((claim) => isTooSmall(present.get(volumeName(claim)), claim))
      .map((claim) => () => grow(api, claim)),
    ...volumes.items.filter(isToBeDeleted).map((volume) => () => release(api, volume.metadata.name)),
  ];
  // One that fails (a full disk, a mount still in use) must not keep the others waiting; it is tried again.
  const failures: unknown[] = [];
  for (const step of steps) await step().catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw new AggregateError(failures, failures.map(String).join("; "));
}

/** Unbound, and the scheduler has chosen this node for its first consumer. */
export function isWaiting(claim: Claim): boolean {
  const chosen = claim.metadata.annotations?.["volume.kubernetes.io/selected-node"];
  const isUnbound = claim.spec.volumeName === undefined || claim.spec.volumeName === "";
  return isUnbound && chosen === nodeName && claim.metadata.deletionTimestamp === undefined;
}

/** The volume has less than its claim asks for since it was made. */
export function isTooSmall(volume: Volume | undefined, { spec }: Claim): boolean {
  if (volume?.metadata.annotations?.["pv.kubernetes.io/provisioned-by"] !== provisioner) return false;
  return quantityBytes(volume.spec.capacity.storage) < quantityBytes(spec.resources.requests.storage);
}

export function isToBeDeleted(volume: Volume): boolean {
  const isOurs = volume.metadata.annotations?.["pv.kubernetes.io/provisioned-by"] === provisioner;
  const isFree = volume.status?.phase === "Released" || volume.status?.phase === "Failed";
  return isOurs && isFree && volume.spec.persistentVolumeReclaimPolicy === "Delete";
}

/** Named by the claim's identity: doing it twice makes one volume. */
export function volumeName(claim: Claim): string {
  return `pvc-${claim.metadata.uid}`;
}

const unitBytes: Readonly<Record<string, number>> = {
  ...{ "": 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12 },
  ...{ Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40 },
};

/** Bytes of a Kubernetes quantity such as `1Gi`, `500M` or `1e9`. */
export function quantityBytes(quantity: string): number {
  const [, value = "", unit = ""] = /^([0-9.]+(?:[eE][0-9]+)?)([a-zA-Z]*)$/.exec(quantity) ?? [];
  const bytes = Math.ceil(Number(value) * (unitBytes[unit] ?? NaN));
  if (value === "" || !Number.isFinite(bytes)) throw new Error(`"${quantity}" is not a size`);
  return bytes;
}

async function provide(api: Api, claim: Claim, reclaimPolicy: string): Promise<void> {
  if (claim.spec.volumeMode === "Block") return;
  const name = volumeName(claim);
  const asked = claim.spec.resources.requests.storage;
  const bytes = Math.max(quantityBytes(asked), smallestBytes);
  await createFileSystem(name, bytes);
  await mountVolume(name);
  const volume = {
    apiVersion: "v1",
    kind: "PersistentVolume",
    metadata: { name, annotations: { "pv.kubernetes.io/provisioned-by": provisioner } },
    spec: {
      capacity: { storage: bytes === smallestBytes ? String(bytes) : asked },
      accessModes: claim.spec.accessModes,
      persistentVolumeReclaimPolicy: reclaimPolicy,
      storageClassName: claim.spec.storageClassName,
      claimRef: {
        apiVersion: "v1",
        kind: "PersistentVolumeClaim",
        namespace: claim.metadata.namespace,
        name: claim.metadata.name,
        uid: claim.metadata.uid,
      },
      local: { path: dataPath(name) },
      nodeAffinity: {
        required: {
          nodeSelectorTerms: [
            { matchExpressions: [{ key: "kubernetes.io/hostname", operator: "In", values: [nodeName] }] },
          ],
        },
      },
    },
  };
  await api.send("POST", "/api/v1/persistentvolumes", volume).catch((error: unknown) => {
    if (!(error instanceof ApiError && error.status === 409)) throw error;
  });
  process.stdout.write(`volume ${name}: ${asked} for ${claim.metadata.namespace}/${claim.metadata.name}\n`);
}

/** While it is mounted. The kubelet then tells the claim. */
async function grow(api: Api, claim: Claim): Promise<void> {
  const name = volumeName(claim);
  const asked = claim.spec.resources.requests.storage;
  const image = imageFile(name);
  await truncate(image, quantityBytes(asked));
  const devices = await run("losetup", ["--associated", image, "--output", "NAME", "--noheadings"]);
  const device = devices.trim();
  await run("losetup", ["--set-capacity", device]);
  await run("xfs_growfs", ["-d", mountPoint(name)]);
  const volume = {
    apiVersion: "v1",
    kind: "PersistentVolume",
    metadata: { name },
    spec: { capacity: { storage: asked } },
  };
  await api.apply(volume);
  process.stdout.write(`volume ${name}: grown to ${asked}\n`);
}

async function release(api: Api, name: string): Promise<void> {
  await deleteFileSystem(name);
  await api.send("DELETE", `/api/v1/persistentvolumes/${name}`);
  process.stdout.write(`volume ${name}: deleted\n`);
}

function directory(name = ""): string {
  return inCluster("volumes", name);
}

const imageFile = (name: string): string => `${directory(name)}/image`;
/** Where the volume of this name is mounted on this machine. */
export const mountPoint = (name: string): string => `${directory(name)}/mount`;
/** A directory in the file system and not its root: an unmounted volume then fails instead of filling the host's disk. */
const dataPath = (name: string): string => `${mountPoint(name)}/data`;

async function createFileSystem(name: string, bytes: number): Promise<void> {
  if (await exists(imageFile(name))) return;
  await mkdir(directory(name), { recursive: true });
  const draft = `${imageFile(name)}.new`;
  await writeFile(draft, "");
  await truncate(draft, bytes);
  await run("mkfs.xfs", ["-q", "-K", draft]);
  await rename(draft, imageFile(name));
}

async function mountVolume(name: string): Promise<void> {
  if (!(await mountedBelow(directory(name))).includes(mountPoint(name))) {
    await mkdir(mountPoint(name), { recursive: true });
    // What is deleted in it is free on this machine's disk again.
    await run("mount", ["-o", "loop,nosuid,nodev,noatime,discard", imageFile(name), mountPoint(name)]);
  }
  await mkdir(dataPath(name), { recursive: true });
}

async function deleteFileSystem(name: string): Promise<void> {
  for (const mount of await mountedBelow(directory(name))) await run("umount", [mount]);
  await rm(directory(name), { recursive: true, force: true });
}

/** After a reboot: every volume is there before the first pod asks for it. */
export async function mountVolumes(): Promise<void> {
  for (const name of await readdir(directory()).catch(() => [])) {
    if (await exists(imageFile(name))) await mountVolume(name);
    // What a killed provisioner left; the claim makes it anew.
    else await rm(directory(name), { recursive: true, force: true });
  }
}

/** Every mount at or below the directory, the innermost first. */
export async function mountedBelow(path: string): Promise<string[]> {
  const table = (await readIfPresent("/proc/self/mountinfo")) ?? "";
  const points = table.split("\n").map((line) => (line.split(" ")[4] ?? "").replaceAll("\\040", " "));
  return points.filter((point) => point === path || point.startsWith(`${path}/`)).reverse();
}

/** Unmounts everything at or below the directory; what is still in use goes as soon as it is not. */
export async function unmountBelow(path: string): Promise<void> {
  for (const point of await mountedBelow(path)) {
    if ((await tryRun("umount", [point])) === undefined) await tryRun("umount", ["--lazy", point]);
  }
}
