import { fileURLToPath } from "node:url";
import { purposeOf } from "./config.ts";
import { type VariableName, variables } from "./variables.ts";

/** The text of `.env.sample`: every variable with what it is for and its default or an example. */
export function sample(): string {
  const lines = (Object.keys(variables) as VariableName[]).map((name) => {
    const schema = variables[name];
    const example = schema.meta()?.["example"];
    const fallback: unknown = schema.parse(undefined) ?? "";
    const value = typeof example === "string" ? example : String(fallback);
    return `# ${purposeOf(name)}.\n${name}=${value}\n`;
  });
  return ["# Written from src/config/variables.ts by `npm run env-sample`.\n", ...lines].join("\n");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.stdout.write(sample());
}
