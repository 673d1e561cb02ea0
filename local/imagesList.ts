import { readConfig } from "../components/config.ts";
import { stackImages } from "../components/configChecks.ts";
import { stackSettings } from "./stackValues.ts";
import { UserError } from "./system.ts";

/** Every image of a stack: what a private mirror must hold. One line each: name, reference. */
export async function imagesList(stack: string): Promise<string> {
  const { config, secretKeys } = await stackSettings(stack, true);
  const { values, problems } = readConfig(config, new Set(secretKeys));
  if (values === undefined)
    throw new UserError(
      `Pulumi.${stack}.yaml has mistakes:\n${problems.map((one) => `  - ${one}\n`).join("")}`,
    );
  return stackImages(values)
    .map(({ name, reference = "" }) => `${name.padEnd(16)}${reference}\n`)
    .join("");
}
