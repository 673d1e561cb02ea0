import { createHash } from "node:crypto";
import { textAt, type JsonObject } from "../common/wire.ts";

/** What a build and a push would add to an image: a digest that follows from what was asked for, not from any layer. */
export function dockerAdds(type: string, inputs: JsonObject): JsonObject {
  if (!type.endsWith(":Image")) return {};
  const imageName = textAt(inputs, "imageName");
  const digest = createHash("sha256").update(JSON.stringify(inputs)).digest("hex");
  return { baseImageName: imageName, repoDigest: `${imageName.replace(/:[^/:]*$/, "")}@sha256:${digest}` };
}
