import { Image } from "@pulumi/docker/image.js";
import * as pulumi from "@pulumi/pulumi";
import { join } from "node:path";

import { ownImages, requireImage, type ImageMap, type ImageName } from "./images.ts";

export interface BuildSettings {
  /** Where the images are pushed: a registry and a path in it, such as `example.azurecr.io/groundwork`. */
  readonly repository: string;
  /** What the nodes are, such as `linux/amd64`. */
  readonly platform: string;
}

/** What a stack's configuration says of its images. */
export interface ImageSettings {
  readonly images: ImageMap;
  readonly registry?: string | undefined;
  readonly build?: BuildSettings | undefined;
}

/** Looks up the reference of an image: given by the stack, built, or upstream's. */
export function stackImage({
  images,
  registry,
  build,
}: ImageSettings): (name: ImageName) => pulumi.Input<string> {
  return requireImage(images, registry, build ? buildImages(build, images) : {});
}

const repositoryRoot = join(import.meta.dirname, "..");

/**
 * Builds the images of this repository that `given` does not name, and pushes them as whoever Docker is logged in as. Each
 * reference is the digest that the registry has given it: known after the push, and another with every other content.
 */
export function buildImages(
  { repository, platform }: BuildSettings,
  given: ImageMap,
): Partial<Record<ImageName, pulumi.Output<string>>> {
  const missing = Object.entries(ownImages).filter(([name]) => !(name in given));
  const built = missing.map(([name, directory]) => {
    const context = join(repositoryRoot, directory);
    const image = new Image(`image-${name}`, {
      imageName: `${repository}/${name}:${pulumi.getStack()}`,
      build: { context, dockerfile: join(context, "Dockerfile"), platform },
    });
    return [name, image.repoDigest] as const;
  });
  return Object.fromEntries(built);
}
