import fc, { type Arbitrary } from "fast-check";

/** The part of JSON Schema that the OpenAPI document uses. */
export interface JsonSchema {
  $ref?: string;
  type?: string | string[];
  enum?: unknown[];
  const?: unknown;
  anyOf?: JsonSchema[];
  oneOf?: JsonSchema[];
  allOf?: JsonSchema[];
  format?: string;
  pattern?: string;
  minLength?: number;
  maxLength?: number;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  items?: JsonSchema;
  minItems?: number;
  maxItems?: number;
  properties?: Record<string, JsonSchema>;
  required?: string[];
  additionalProperties?: boolean | JsonSchema;
}

const deepest = 5;

/** Texts at which parsers, databases and paths are known to stumble. */
const awkward = fc.constantFrom(
  ...["", " ", "\u0000", "\ud800", "𠮷野家", "e\u0301", "\r\nX-Injected: 1", "'; drop table documents; --"],
  ...[
    "../../etc/passwd",
    ".",
    "..",
    "%00",
    "%2e%2e%2f",
    "__proto__",
    "constructor",
    "null",
    "NaN",
    "-1",
    "1e400",
  ],
  ...["99999999999999999999", "0x10", "2026-02-30T00:00:00.000Z", "x".repeat(10_000)],
);
export const wildText = fc.oneof(awkward, fc.string({ unit: "binary" }), fc.string());
const wild: Arbitrary<unknown> = fc.oneof(
  wildText,
  fc.constantFrom(null, true, -1, 0, 1.5, 1e308, -(2 ** 63), [], {}),
  fc.jsonValue({ maxDepth: 3 }),
);

/** Stands for the id of something that the service made earlier: which one is known only when the request is sent. */
const known = fc.nat({ max: 999 }).map((place) => `@known-${place}`);
const formats: Record<string, Arbitrary<string>> = {
  uuid: fc.oneof({ weight: 3, arbitrary: known }, { weight: 1, arbitrary: fc.uuid() }),
  email: fc.emailAddress(),
  uri: fc.webUrl(),
  "date-time": fc
    .date({ noInvalidDate: true, min: new Date(0), max: new Date("2100-01-01") })
    .map((date) => date.toISOString()),
};

/** Values by the schema. With `wildness` each part of them is something else altogether once in so many times. */
export function valueOf(
  schema: JsonSchema,
  components: Record<string, JsonSchema>,
  wildness?: number,
  depth = 0,
): Arbitrary<unknown> {
  const inner = (part: JsonSchema) => valueOf(part, components, wildness, depth + 1);
  const exact =
    depth > deepest ? fc.constant(null) : exactly(schema, components, inner, wildness !== undefined);
  return wildness === undefined
    ? exact
    : fc.oneof({ weight: wildness, arbitrary: exact }, { weight: 1, arbitrary: wild });
}

function exactly(
  schema: JsonSchema,
  components: Record<string, JsonSchema>,
  inner: (part: JsonSchema) => Arbitrary<unknown>,
  extra: boolean,
): Arbitrary<unknown> {
  if (schema.$ref !== undefined) {
    return inner(components[schema.$ref.slice(schema.$ref.lastIndexOf("/") + 1)] ?? {});
  }
  if (schema.const !== undefined) {
    return fc.constant(schema.const);
  }
  if (schema.enum) {
    return fc.constantFrom(...schema.enum);
  }
  const options = schema.anyOf ?? schema.oneOf;
  if (options) {
    return fc.oneof(...options.map(inner));
  }
  if (schema.allOf) {
    return fc.tuple(...schema.allOf.map(inner)).map((parts) => Object.assign({}, ...parts) as unknown);
  }
  if (Array.isArray(schema.type)) {
    return fc.oneof(...schema.type.map((type) => inner({ ...schema, type })));
  }
  switch (schema.type) {
    case "string":
      return stringOf(schema);
    case "integer":
    case "number":
      return numberOf(schema, schema.type === "integer");
    case "boolean":
      return fc.boolean();
    case "null":
      return fc.constant(null);
    case "array": {
      const { minItems = 0, maxItems = 10 } = schema;
      return fc.array(inner(schema.items ?? {}), {
        minLength: minItems,
        maxLength: Math.min(maxItems, minItems + 5),
      });
    }
    case "object":
      return objectOf(schema, inner, extra);
    default:
      return fc.jsonValue({ maxDepth: 2 });
  }
}

function stringOf({ format, pattern, minLength = 0, maxLength = 1000 }: JsonSchema): Arbitrary<string> {
  const named = format === undefined ? undefined : formats[format];
  if (named) {
    return named;
  }
  if (pattern !== undefined) {
    try {
      return fc.stringMatching(new RegExp(pattern));
    } catch {
      // A pattern beyond what can be generated from, such as one that looks ahead.
    }
  }
  return fc.string({ unit: "grapheme", minLength, maxLength: Math.min(maxLength, minLength + 50) });
}

function numberOf(schema: JsonSchema, whole: boolean): Arbitrary<number> {
  const { minimum = schema.exclusiveMinimum ?? -1000, maximum = schema.exclusiveMaximum ?? minimum + 2000 } =
    schema;
  return whole
    ? fc.integer({ min: Math.max(minimum, -(2 ** 53 - 1)), max: Math.min(maximum, 2 ** 53 - 1) })
    : fc.double({ min: minimum, max: maximum, noNaN: true });
}

function objectOf(
  { properties = {}, required = [], additionalProperties }: JsonSchema,
  inner: (part: JsonSchema) => Arbitrary<unknown>,
  extra: boolean,
): Arbitrary<unknown> {
  const parts = Object.fromEntries(Object.entries(properties).map(([name, part]) => [name, inner(part)]));
  const own = fc.record(parts, { requiredKeys: required });
  const others =
    typeof additionalProperties === "object"
      ? fc.dictionary(fc.string({ maxLength: 20 }), inner(additionalProperties), { maxKeys: 3 })
      : fc.constant({});
  const foreign = extra
    ? fc.oneof(
        { weight: 9, arbitrary: fc.constant({}) },
        {
          weight: 1,
          arbitrary: fc.dictionary(fc.string({ maxLength: 20 }), wild, { minKeys: 1, maxKeys: 2 }),
        },
      )
    : fc.constant({});
  return fc.tuple(others, own, foreign).map((all) => Object.assign({}, ...all) as unknown);
}
