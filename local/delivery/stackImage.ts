/** The image that a stack's file names for the app, so that the next `pulumi up` runs what users have. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseDocument } from "yaml";
import { repository } from "../stack.ts";

/** Writes the image into the stack's file, where the file names one, and says whether it did; comments stay. */
export async function nameImage(stack: string, image: string): Promise<string> {
  const path = join(repository, `Pulumi.${stack}.yaml`);
  const document = parseDocument(await readFile(path, "utf8"));
  const key = ["config", "groundwork:images", "app"];
  if (!document.hasIn(key)) return `Pulumi.${stack}.yaml names no image of the app, and was left as it is`;
  document.setIn(key, image);
  await writeFile(path, document.toString({ lineWidth: 0 }));
  return `Pulumi.${stack}.yaml has it`;
}
