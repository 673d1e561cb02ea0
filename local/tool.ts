/** Programs that the machine may have, or that are built for it. */
import { join } from "node:path";
import type { GoModuleName } from "./goModules.ts";
import { buildGoTool } from "./gotools.ts";
import { wrapperDirectory } from "./stack.ts";
import { findCommand, UserError } from "./system.ts";

/**
 * A program that is on PATH, else built from its Go module.
 * @throws {UserError} where there is neither it nor Go.
 */
export async function tool(name: GoModuleName, program: string = name): Promise<string> {
  const onPath = await findCommand(program, wrapperDirectory());
  if (onPath !== undefined) return onPath;
  if ((await findCommand("go")) === undefined)
    throw new UserError(
      `${program} is not on PATH, and neither is Go, by which it could be built. Install ${program}, or Go 1.26 or later, then run ` +
        "the same command again.",
    );
  return join(await buildGoTool(name, program), program);
}
