import { methods, type OpenApiDocument } from "./openapi.ts";

/** A piece of the reference: written once, shown as Markdown in docs/ and as HTML at /api/docs. */
type Block =
  | { heading: string; level: 1 | 2 | 3 }
  | { text: string }
  | { columns: readonly string[]; rows: readonly (readonly string[])[] };

/** The parts of an OpenAPI object that the reference shows; the document's own types leave most of it open. */
interface Schema {
  $ref?: string;
  type?: string | string[];
  enum?: unknown[];
  const?: unknown;
  format?: string;
  pattern?: string;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  description?: string;
  items?: Schema;
  anyOf?: Schema[];
  oneOf?: Schema[];
  properties?: Record<string, Schema>;
  required?: string[];
}
type Content = Record<string, { schema?: Schema } | undefined>;
interface Response {
  $ref?: string;
  description?: string;
  content?: Content;
}
interface Operation {
  summary?: string;
  description?: string;
  parameters?: { in: string; name: string; required?: boolean; description?: string; schema?: Schema }[];
  requestBody?: { content?: Content };
  responses?: Record<string, Response>;
}

export function toMarkdown(document: OpenApiDocument): string {
  const cell = (text: string) => text.replaceAll("|", "\\|").replaceAll("\n", " ");
  return referenceOf(document)
    .map((block) => {
      if ("heading" in block) {
        return `${"#".repeat(block.level)} ${block.heading}\n`;
      }
      if ("text" in block) {
        return `${block.text}\n`;
      }
      const lines = [block.columns, block.columns.map(() => "---"), ...block.rows];
      return lines.map((cells) => `| ${cells.map(cell).join(" | ")} |\n`).join("");
    })
    .join("\n");
}

/** A page without scripts; its one style is allowed by the nonce of the edge's Content-Security-Policy. */
export function toHtml(document: OpenApiDocument, nonce: string): string {
  const row = (cells: readonly string[], tag: string) =>
    `<tr>${cells.map((text) => `<${tag}>${inline(text)}</${tag}>`).join("")}</tr>`;
  const body = referenceOf(document).map((block) => {
    if ("heading" in block) {
      return `<h${block.level}>${inline(block.heading)}</h${block.level}>`;
    }
    if ("text" in block) {
      return `<p>${inline(block.text)}</p>`;
    }
    const rows = block.rows.map((cells) => row(cells, "td")).join("\n");
    return `<table>\n${row(block.columns, "th")}\n${rows}\n</table>`;
  });
  return [
    `<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>${escaped(document.info.title)}</title>`,
    '<meta name="viewport" content="width=device-width">',
    `<style nonce="${escaped(nonce)}">body{font:16px/1.5 system-ui;max-width:60rem;margin:auto;padding:1rem}table{border-collapse:collapse}th,td{text-align:left;vertical-align:top;padding:.2rem .8rem .2rem 0;border-bottom:1px solid #ccc}h2{margin-top:2.5rem}</style>`,
    ...body,
    "</html>\n",
  ].join("\n");
}

function escaped(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}

function inline(text: string): string {
  return escaped(text).replaceAll(/`([^`]+)`/g, "<code>$1</code>");
}

function referenceOf(document: OpenApiDocument): Block[] {
  const { paths = {}, components = {} } = document;
  const operations = Object.entries(paths).flatMap(([path, item]) =>
    methods.flatMap((method) => {
      const operation = item[method] as Operation | undefined;
      return operation ? [{ path, method, operation }] : [];
    }),
  );
  const schemas = Object.entries(components.schemas ?? {}) as [string, Schema][];
  const shared = (components.responses ?? {}) as Record<string, Response>;
  return [
    { heading: `${document.info.title} ${document.info.version}`, level: 1 },
    { text: document.info.description ?? "" },
    ...operations.flatMap(({ path, method, operation }) => describe(path, method, operation, shared)),
    { heading: "Schemas", level: 2 },
    ...schemas.flatMap(([name, schema]): Block[] => [
      { heading: name, level: 3 },
      ...(schema.description === undefined ? [] : [{ text: schema.description }]),
      ...(schema.properties ? [fieldTable(schema)] : [{ text: formOf(schema) }]),
    ]),
  ];
}

function describe(
  path: string,
  method: string,
  { summary, description, parameters = [], requestBody, responses = {} }: Operation,
  shared: Record<string, Response>,
): Block[] {
  const sent = Object.entries(requestBody?.content ?? {});
  return [
    { heading: `${method.toUpperCase()} \`${path}\``, level: 2 },
    ...[summary, description].flatMap((text) =>
      text ? [{ text: text.endsWith(".") ? text : `${text}.` }] : [],
    ),
    ...(parameters.length === 0
      ? []
      : [
          {
            columns: ["parameter", "in", "form", "meaning"],
            rows: parameters.map(({ name, in: place, required, schema = {}, description: meaning = "" }) => [
              `\`${name}\`${required ? "" : " (optional)"}`,
              place,
              formOf(schema),
              meaning || (schema.description ?? ""),
            ]),
          },
        ]),
    ...sent.flatMap(([type, media]): Block[] => [
      { text: `Body, \`${type}\`:` },
      media?.schema?.properties ? fieldTable(media.schema) : { text: formOf(media?.schema ?? {}) },
    ]),
    {
      columns: ["status", "body", "meaning"],
      rows: Object.entries(responses).map(([status, answer]) => {
        const { content = {}, description: meaning = "" } =
          answer.$ref === undefined ? answer : (shared[nameOf(answer.$ref)] ?? {});
        const bodies = Object.entries(content).map(
          ([type, media]) => `\`${type}\` ${formOf(media?.schema ?? {})}`,
        );
        return [status, bodies.join(" or ").trim(), meaning];
      }),
    },
  ];
}

function fieldTable({ properties = {}, required = [] }: Schema): Block {
  return {
    columns: ["field", "form", "meaning"],
    rows: Object.entries(properties).map(([name, schema]) => [
      `\`${name}\`${required.includes(name) ? "" : " (optional)"}`,
      formOf(schema),
      schema.description ?? "",
    ]),
  };
}

function nameOf(reference: string): string {
  return reference.slice(reference.lastIndexOf("/") + 1);
}

/** A schema in a few words. */
function formOf(schema: Schema): string {
  if (schema.$ref !== undefined) {
    return nameOf(schema.$ref);
  }
  const options = schema.anyOf ?? schema.oneOf;
  if (options) {
    return options.map(formOf).join(" or ");
  }
  if (schema.const !== undefined || schema.enum) {
    return (schema.enum ?? [schema.const]).map((value) => `\`${JSON.stringify(value)}\``).join(", ");
  }
  const type = [schema.type ?? "anything"].flat().join(" or ");
  if (type === "array") {
    return `list of ${formOf(schema.items ?? {})}`;
  }
  if (type === "object" && schema.properties) {
    return `{ ${Object.entries(schema.properties)
      .map(([name, inner]) => `${name}: ${formOf(inner)}`)
      .join(", ")} }`;
  }
  return [type, limitsOf(schema)].filter(Boolean).join(", ");
}

function limitsOf(schema: Schema): string {
  const safe = (bound: number | undefined) =>
    Number.isSafeInteger(bound) && Math.abs(bound ?? 0) < Number.MAX_SAFE_INTEGER ? bound : undefined;
  const [least, most] = [schema.minLength ?? safe(schema.minimum), schema.maxLength ?? safe(schema.maximum)];
  const unit = schema.minLength !== undefined || schema.maxLength !== undefined ? " characters" : "";
  const range =
    least !== undefined && most !== undefined
      ? `${least} to ${most}${unit}`
      : least !== undefined
        ? `at least ${least}${unit}`
        : most !== undefined
          ? `at most ${most}${unit}`
          : "";
  return [schema.format ?? (schema.pattern === undefined ? "" : `\`${schema.pattern}\``), range]
    .filter(Boolean)
    .join(", ");
}
