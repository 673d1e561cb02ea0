import { fileURLToPath } from "node:url";
import { purposeOf } from "./config.ts";
import { type VariableName, variables } from "./variables.ts";

/** The text of docs/environment.md: every variable in one table. */
export function environmentTable(): string {
  const rows = (Object.keys(variables) as VariableName[]).map((name) => {
    const schema = variables[name];
    const example = schema.meta()?.["example"];
    const fallback: unknown = schema.parse(undefined);
    // Nothing for none, and for an empty list.
    const shown = [fallback].join();
    const cells = [
      `\`${name}\``,
      purposeOf(name),
      formOf(name),
      shown === "" ? "" : `\`${shown}\``,
      typeof example === "string" ? `\`${example}\`` : "",
      schema.meta()?.["credential"] === true ? "yes" : "no",
    ];
    return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |\n`;
  });
  return [
    "# The app's environment variables\n\n",
    "Written from `app/src/config/variables.ts` by `npm run env-sample`. Nothing else reads the environment. A malformed\n",
    "value always keeps the app from starting. One that is needed and missing switches the part off that it is for, or\n",
    "keeps the app from starting under `REQUIRE_CREDENTIALS=true`. All that is wrong is said in one log line.\n\n",
    "How a stack is given one: [operations](operations.md#a-variable-or-a-secret-of-the-apps-own).\n\n",
    "| variable | purpose | form | default | example | needed |\n",
    "| --- | --- | --- | --- | --- | --- |\n",
    ...rows,
  ].join("");
}

/** What the schema says it expected when it is given what is never right. */
function formOf(name: VariableName): string {
  const [issue] = variables[name].safeParse("\u0000").error?.issues ?? [];
  return issue === undefined ? "text" : issue.message.replace(/^(Invalid option: )?expected (one of )?/, "");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.stdout.write(environmentTable());
}
