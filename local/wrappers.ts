/** `pulumi` and `kubectl` for the person's own shell, which `make env` puts on PATH. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { kubectlProgram } from "./cluster.ts";
import { projectDirectory, wrapperDirectory, type Engine } from "./stack.ts";
import { replaceFile, say, UserError } from "./system.ts";

/** Makes both; without kubectl, which `make up` does not need itself, says what would bring one. */
export async function writeWrappers({ pulumi }: Pick<Engine, "pulumi">): Promise<void> {
  // On this machine's project wherever it is called.
  await write("pulumi", `'${pulumi}' --cwd '${projectDirectory()}'`);
  try {
    await write("kubectl", `'${await kubectlProgram()}'`);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    say(error.message);
  }
}

async function write(name: string, command: string): Promise<void> {
  await mkdir(wrapperDirectory(), { recursive: true });
  await replaceFile(join(wrapperDirectory(), name), `#!/bin/sh\nexec ${command} "$@"\n`, 0o755);
}
