/** Prints every image of a stack: what a private mirror must hold. One line each: name, reference. */
import { program, stackSettings } from "./stackValues.ts";

const { readConfig, stackImages } = await program();

const stack = process.argv[2] ?? "dev";
const { config, secretKeys } = await stackSettings(stack, true);
const { values, problems } = readConfig(config, new Set(secretKeys));
if (values === undefined) {
  process.stderr.write(
    `Pulumi.${stack}.yaml has mistakes:\n${problems.map((one) => `  - ${one}\n`).join("")}`,
  );
  process.exit(1);
}
for (const { name, reference = "" } of stackImages(values)) {
  process.stdout.write(`${name.padEnd(16)}${reference}\n`);
}
