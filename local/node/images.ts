/** Images in the node's containerd: imported from tars, listed, pruned; and small ones made from a single program. */
import { createHash } from "node:crypto";
import { copyFile, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exists, run, say } from "../system.ts";
import { containerdSocket, inCluster } from "./layout.ts";

interface ArchiveManifest {
  readonly Config: string;
  readonly RepoTags: readonly string[] | null;
}

export interface ImageStore {
  importImages(tars: readonly string[]): Promise<void>;
  listImages(): Promise<string[]>;
  pruneImages(keep: readonly string[], repositoryPrefix: string): Promise<void>;
}

/** `ctr` is the containerd command-line client's path. */
export function imageStore(ctr: string): ImageStore {
  const call = (...args: string[]): Promise<string> =>
    run(ctr, ["-a", containerdSocket, "-n", "k8s.io", ...args]);
  const rows = async (): Promise<string[]> => (await call("images", "ls")).split("\n").slice(1);
  return {
    /** Imports `docker save` archives; one whose every tag is there with just that content is skipped. */
    async importImages(tars) {
      for (const tar of tars) {
        const manifests = JSON.parse(await run("tar", ["-xOf", tar, "manifest.json"])) as ArchiveManifest[];
        const present = await rows();
        const isPresent = manifests.every(({ Config, RepoTags }) =>
          (RepoTags ?? []).every((tag) =>
            present.some((row) => row.startsWith(`${fullName(tag)} `) && row.includes(contentLabel(Config))),
          ),
        );
        if (isPresent) continue;
        await call("images", "import", tar);
        for (const { Config, RepoTags } of manifests) {
          for (const tag of RepoTags ?? []) {
            say(`images: ${tag} is on the node`);
            // Pinned, as the kubelet under disk pressure would delete what no registry can give back.
            await call(
              "images",
              "label",
              fullName(tag),
              "io.cri-containerd.pinned=pinned",
              contentLabel(Config),
            );
          }
        }
      }
    },

    async listImages() {
      const names = rows().then((all) => all.map((row) => row.split(/\s/, 1)[0] ?? ""));
      return (await names).filter(
        (name) => name !== "" && !name.startsWith("sha256:") && !name.includes("@"),
      );
    },

    /** Removes images below `repositoryPrefix` that are neither to be kept nor used by a container. */
    async pruneImages(keep, repositoryPrefix) {
      const used = (await call("containers", "ls")).split("\n").map((row) => row.split(/\s+/)[1] ?? "");
      const kept = new Set([...keep.map(fullName), ...used]);
      for (const name of await this.listImages()) {
        if (name.startsWith(fullName(repositoryPrefix)) && !kept.has(name)) await call("images", "rm", name);
      }
    },
  };
}

/** The content an image was imported with: a tag alone may have been given to something else since. */
function contentLabel(config: string): string {
  return `groundwork.config=${createHash("sha256").update(config).digest("hex").slice(0, 32)}`;
}

/** `app:1` is `docker.io/library/app:1` to containerd. */
export function fullName(name: string): string {
  const [first = "", ...rest] = name.split("/");
  if (rest.length === 0) return `docker.io/library/${name}`;
  return first.includes(".") || first.includes(":") || first === "localhost" ? name : `docker.io/${name}`;
}

export interface ProgramImage {
  readonly reference: string;
  readonly tar: string;
}

/** An image that holds one static program and nothing else, made once per content. */
export async function programImage(name: string, program: string): Promise<ProgramImage> {
  const digest = createHash("sha256")
    .update(await readFile(program))
    .digest("hex");
  const reference = `groundwork.local/${name}:${digest.slice(0, 12)}`;
  const directory = inCluster("images");
  const tar = join(directory, `${name}-${digest.slice(0, 12)}.tar`);
  if (await exists(tar)) return { reference, tar };
  await mkdir(directory, { recursive: true });
  const work = await mkdtemp(join(tmpdir(), "groundwork-image-"));
  try {
    await copyFile(program, join(work, name));
    await pack(join(work, "layer.tar"), work, ["--mode=0755", name]);
    const layerDigest = createHash("sha256")
      .update(await readFile(join(work, "layer.tar")))
      .digest("hex");
    const config = JSON.stringify({
      architecture: process.arch === "x64" ? "amd64" : process.arch,
      os: "linux",
      config: { Entrypoint: [`/${name}`], User: "10001:10001" },
      rootfs: { type: "layers", diff_ids: [`sha256:${layerDigest}`] },
    });
    const configFile = `${createHash("sha256").update(config).digest("hex")}.json`;
    await writeFile(join(work, configFile), config);
    const manifest = [{ Config: configFile, RepoTags: [reference], Layers: ["layer.tar"] }];
    await writeFile(join(work, "manifest.json"), JSON.stringify(manifest));
    await pack(join(work, "image.tar"), work, ["manifest.json", configFile, "layer.tar"]);
    await copyFile(join(work, "image.tar"), `${tar}.new`);
    await rename(`${tar}.new`, tar);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return { reference, tar };
}

/** The same bytes whoever makes it and whenever. */
function pack(tar: string, directory: string, more: readonly string[]): Promise<string> {
  const plain = ["--format=ustar", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0"];
  return run("tar", [...plain, "-C", directory, "-cf", tar, ...more]);
}
