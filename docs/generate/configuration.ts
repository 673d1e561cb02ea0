import { z } from "zod";

import { secretSchema, stackSchema } from "../../components/configSchema.ts";

/** The parts of JSON Schema that the configuration's schemas come to. */
export interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Schema | boolean;
  readonly propertyNames?: Schema;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly minItems?: number;
  readonly format?: string;
  /** What the schema answers to a text that is never right. */
  readonly refusal?: string;
}

/** One key of `Pulumi.<stack>.yaml`. */
export interface Key {
  readonly path: string;
  readonly meaning: string;
  readonly form: string;
  readonly fallback: string;
}

/** Every key that can be set, secrets left out. */
export function configurationKeys(): Key[] {
  return keysOf("groundwork:", jsonSchema(stackSchema));
}

/** Every key that is set with `--secret`. */
export function secretKeys(): Key[] {
  return keysOf("groundwork:", jsonSchema(secretSchema));
}

/** The text of docs/configuration.md. */
export function configurationPage(): string {
  const sections = new Map<string, Key[]>();
  for (const key of configurationKeys()) {
    const section = key.path.split(".")[0] ?? "";
    sections.set(section, [...(sections.get(section) ?? []), key]);
  }
  return [
    "# The stack's configuration\n\n",
    "Written from `components/configSchema.ts` and `components/azure/schema.ts` by `make docs`. Nothing else configures the\n",
    "stack. A key that is not here, or a value that is not allowed, stops `pulumi up` before anything is changed; all that\n",
    "is wrong is said in one message. What contradicts another key, or what production refuses, is said with it\n",
    "(`components/configChecks.ts`).\n\n",
    "Set a key in `Pulumi.<stack>.yaml`, or by command: `pulumi config set --path groundwork:app.replicas 3`.\n",
    ...[...sections].flatMap(([section, keys]) => [
      `\n## ${section.replace("groundwork:", "")}\n\n`,
      table(keys),
    ]),
    "\n## Secrets\n\n",
    "Set with `pulumi config set --secret`; in plain text they are refused. With `secrets.store: kubernetes` set `tlsBundle`,\n",
    "`internalCa`, `postgresTls`, `redisTls`, `appTls` and `ageIdentity`, without `azure` also `azuriteTls`, and of the others those that a\n",
    "setting of yours needs. With `keyVault` whatever is set here is put into the vault; what is not set has to be there\n",
    "([by these names](secrets.md)).\n\n",
    table(secretKeys()),
  ].join("");
}

function table(keys: readonly Key[]): string {
  const rows = keys.map(({ path, meaning, form, fallback }) => [
    `\`${path.replace("groundwork:", "")}\``,
    meaning,
    form,
    fallback,
  ]);
  return [["key", "meaning", "form", "default"], ["---", "---", "---", "---"], ...rows]
    .map((cells) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |\n`)
    .join("");
}

function jsonSchema(schema: z.ZodType): Schema {
  return z.toJSONSchema(schema, {
    io: "input",
    unrepresentable: "any",
    override: ({ zodSchema, jsonSchema: made }) => {
      if (made.type === "string") made["refusal"] = refusalOf(zodSchema);
    },
  }) as Schema;
}

function refusalOf(schema: z.core.$ZodType): string | undefined {
  const issue = z.safeParse(schema, "\u0000").error?.issues[0];
  return issue?.message.startsWith("must be ") ? issue.message.slice("must be ".length) : undefined;
}

function keysOf(prefix: string, schema: Schema): Key[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, property]) => {
    const path = prefix + name;
    const needed = schema.required?.includes(name) === true;
    const own: Key = {
      path,
      meaning: property.description ?? "",
      form: formOf(property),
      fallback: needed ? "**required**" : property.default === undefined ? "none" : shown(property.default),
    };
    if (property.properties === undefined) return [own];
    const described = property.description === undefined ? [] : [{ ...own, form: "the keys below" }];
    return [
      ...described.map((key) => ({ ...key, fallback: needed ? key.fallback : "" })),
      ...keysOf(`${path}.`, property),
    ];
  });
}

function shown(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? "empty" : value.map(shown).join(", ");
  return `\`${typeof value === "string" ? value : JSON.stringify(value)}\``;
}

const formats: Readonly<Record<string, string>> = {
  uuid: "GUID",
  uri: "URL",
  hostname: "host name",
  email: "e-mail address",
};

/** What a value may be, in words. */
export function formOf(schema: Schema): string {
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices !== undefined) {
    const networks = choices.every(({ format }) => format === "cidrv4" || format === "cidrv6");
    return networks ? "network such as 10.0.0.0/8" : [...new Set(choices.map(formOf))].join(" or ");
  }
  if (schema.const !== undefined) return shown(schema.const);
  if (schema.enum !== undefined) return schema.enum.map(shown).join(", ");
  if (schema.type === "boolean") return "`true`, `false`";
  if (schema.type === "array") return `list of: ${formOf(schema.items ?? {})}`;
  if (schema.type === "integer") return `whole number, ${bound(schema.minimum)} to ${bound(schema.maximum)}`;
  if (schema.type === "number") return `number${limits(schema)}`;
  if (schema.properties !== undefined) {
    const entries = Object.entries(schema.properties).map(
      ([name, property]) => `${name}: ${formOf(property)}`,
    );
    return `{ ${entries.join("; ")} }`;
  }
  if (typeof schema.additionalProperties === "object") {
    return `map of ${schema.propertyNames?.enum?.map(shown).join(", ") ?? "names"} to: ${formOf(schema.additionalProperties)}`;
  }
  return schema.refusal ?? formats[schema.format ?? ""] ?? "text";
}

function limits({ exclusiveMinimum, minimum, maximum }: Schema): string {
  if (exclusiveMinimum !== undefined) return ` above ${exclusiveMinimum}`;
  return minimum === undefined || maximum === undefined ? "" : `, ${minimum} to ${maximum}`;
}

function bound(value: number | undefined): string {
  return (value ?? 0).toLocaleString("en").replaceAll(",", " ");
}
