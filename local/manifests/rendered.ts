/** What `make render` writes, as objects. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import { repository } from "../stack.ts";
import { run } from "../system.ts";

export const stacks = ["dev", "prod"] as const;
export type StackName = (typeof stacks)[number];

const objectShape = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({
    name: z.string(),
    namespace: z.string().optional(),
    labels: z.record(z.string(), z.string()).optional(),
  }),
});
export type KubernetesObject = z.infer<typeof objectShape>;

export interface Rendered {
  /** Paths of the files, one object each. */
  readonly files: readonly string[];
  readonly objects: readonly KubernetesObject[];
}

/** Renders the stack anew, from what is committed alone: what `make up` knows of this machine has no part in it. */
export async function rendered(stack: StackName): Promise<Rendered> {
  const directory = join(".render", "check", stack);
  const env = { ...process.env, GROUNDWORK_CACHE: join(repository, ".render", "no-machine") };
  await run(process.execPath, ["local/main.ts", "render", stack, directory], { cwd: repository, env });
  const root = join(repository, directory);
  const files = (await readdir(root, { recursive: true })).filter((file) => file.endsWith(".yaml")).sort();
  const texts = await Promise.all(files.map((file) => readFile(join(root, file), "utf8")));
  return {
    files: files.map((file) => join(root, file)),
    objects: texts.map((text) => objectShape.parse(parse(text))),
  };
}
