import { createHash, randomBytes } from "node:crypto";
import type { CheckInput } from "../common/provider.ts";
import { at, isObject, objectAt, textAt, type JsonObject } from "../common/wire.ts";
import { annotation, AUTONAMED } from "./objects.ts";

const hex = (seed: Uint8Array, salt: string): string =>
  seed.length > 0
    ? createHash("sha256").update(salt).update(seed).digest("hex").slice(0, 8)
    : randomBytes(4).toString("hex");

/** A resource without a name keeps the one it was given before, or gets its own name with a random end. */
export function withName(inputs: JsonObject, input: CheckInput): JsonObject {
  const metadata = inputs.metadata ?? {};
  if (!isObject(metadata) || metadata.name !== undefined || metadata.generateName !== undefined)
    return inputs;
  const before = textAt(input.olds, "metadata", "name");
  const kept = before !== "" && annotation(input.olds, AUTONAMED) === "true";
  const name = kept ? before : `${input.name}-${hex(input.randomSeed, "name")}`;
  const annotations = { ...objectAt(metadata, "annotations"), [AUTONAMED]: "true" };
  // Unknown or secret annotations stay as they are: nothing can be added to them.
  const known = at(metadata, "annotations") === undefined || isObject(at(metadata, "annotations"));
  return { ...inputs, metadata: { ...metadata, name, ...(known && { annotations }) } };
}

export const newFieldManager = (): string => `pulumi-kubernetes-${randomBytes(4).toString("hex")}`;
