import fc, { type Arbitrary } from "fast-check";
import { methods, type OpenApiDocument } from "../../src/http/openapi.ts";
import { type JsonSchema, valueOf, wildText } from "./schemaArbitrary.ts";

/** Who sends it: one of the tests' tenants in one of the roles, or nobody, or somebody with a token that is none. */
export interface Caller {
  role: "admin" | "editor" | "viewer" | "nobody" | "impostor";
  tenant: number;
}

/** A request as it is to be sent, but for the token and the `@known-…` ids in path and body. */
export interface GeneratedRequest {
  method: string;
  path: string;
  headers: Record<string, string>;
  body: string | undefined;
  caller: Caller;
  /** The client goes away after so many milliseconds. */
  abortAfterMs: number | null;
}

interface Parameter {
  in: "path" | "query" | "header" | "cookie";
  name: string;
  required?: boolean;
  schema?: JsonSchema;
}

interface Operation {
  parameters?: Parameter[];
  requestBody?: { content?: Record<string, { schema?: JsonSchema } | undefined> };
}

export const tenantCount = 8;

const caller: Arbitrary<Caller> = fc.record({
  role: fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom("admin", "editor", "viewer") },
    { weight: 1, arbitrary: fc.constantFrom("nobody", "impostor") },
  ),
  tenant: fc.nat({ max: tenantCount - 1 }),
});

/** What Node's client lets through in a header. */
const headerText = fc.oneof(
  fc.constantFrom(
    "*/*",
    "text/event-stream",
    "identity",
    "gzip",
    "null",
    "a=b; c",
    "00-0-0-00",
    "bytes=0-1",
    '"x"',
    "*",
    "7",
  ),
  fc.string({
    unit: fc
      .integer({ min: 0x20, max: 0xff })
      .filter((code) => code !== 0x7f)
      .map((code) => String.fromCharCode(code)),
  }),
);
const anyHeaders = fc.dictionary(
  fc.constantFrom(
    ...[
      "accept",
      "accept-language",
      "content-encoding",
      "cookie",
      "if-match",
      "if-none-match",
      "origin",
      "range",
    ],
    ...[
      "idempotency-key",
      "last-event-id",
      "traceparent",
      "x-request-id",
      "x-csrf-token",
      "x-forwarded-host",
    ],
  ),
  headerText,
  { maxKeys: 2 },
);
const rarely = <T>(arbitrary: Arbitrary<T>, instead: T, weight = 9) =>
  fc.oneof({ weight, arbitrary: fc.constant(instead) }, { weight: 1, arbitrary });

/** So that limits by address do not keep all but the first few requests from the routes behind them. */
const address = fc.tuple(fc.nat(255), fc.nat(255)).map(([a, b]) => `198.18.${a}.${b}`);

/** Hashing is slow on purpose: asked as often as the others, these routes would take nearly all of the time. */
const hashesPasswords = /\/auth\/(?:sign-in|session)$|\/admin\/users/;

/** Requests to every route of the document: right, nearly right, and wild. */
export function requestOf(document: OpenApiDocument): Arbitrary<GeneratedRequest> {
  const components = (document.components?.schemas ?? {}) as Record<string, JsonSchema>;
  const operations = Object.entries(document.paths ?? {}).flatMap(([template, item]) =>
    methods.flatMap((method) => {
      const operation = item[method] as Operation | undefined;
      const weight = method !== "get" && hashesPasswords.test(template) ? 1 : 10;
      return operation ? [{ weight, arbitrary: operationOf(method, template, operation, components) }] : [];
    }),
  );
  const nowhere = { weight: 10, arbitrary: operationOf("get", "/api/{a}/{b}", {}, {}) };
  return fc.oneof(...operations, nowhere);
}

function operationOf(
  method: string,
  template: string,
  { parameters = [], requestBody }: Operation,
  components: Record<string, JsonSchema>,
): Arbitrary<GeneratedRequest> {
  const text = ({ schema = {} }: Parameter) =>
    fc.oneof(
      { weight: 6, arbitrary: valueOf(schema, components).map(asText) },
      { weight: 1, arbitrary: wildText },
    );
  const of = (place: Parameter["in"]) =>
    parameters.filter((parameter) => parameter.in === place && parameter.name !== "authorization");
  const record = (list: Parameter[]) => {
    const requiredKeys = list.filter(({ required }) => required).map(({ name }) => name);
    return fc.record(Object.fromEntries(list.map((one) => [one.name, text(one)])), { requiredKeys });
  };
  const pathNames = [...template.matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => name);
  const pathParameters = pathNames.map(
    (name) => of("path").find((one) => one.name === name) ?? { in: "path" as const, name },
  );

  return fc
    .record({
      method: method === "get" ? rarely(fc.constant("HEAD"), "GET") : fc.constant(method.toUpperCase()),
      segments: record(pathParameters.map((one) => ({ ...one, required: true }))),
      query: record(of("query")),
      extraQuery: rarely(
        wildText.map((wild) => `${encoded(wild)}=${encoded(wild)}`),
        "",
      ),
      headers: record(of("header")).map((values) =>
        Object.fromEntries(Object.entries(values).map(([name, value]) => [name, sendable(value)])),
      ),
      otherHeaders: rarely(anyHeaders, {}, 4),
      address,
      body: bodyOf(requestBody, components),
      caller,
      abortAfterMs: rarely<number | null>(fc.nat({ max: 20 }), null, 19),
    })
    .map(({ segments, query, extraQuery, headers, otherHeaders, address: from, body, ...rest }) => {
      const path = template.replaceAll(
        /\{(\w+)\}/g,
        (_all, name: string) => encoded(segments[name] ?? "") || "%20",
      );
      const pairs = Object.entries(query).map(([name, value]) => `${encoded(name)}=${encoded(value)}`);
      const search = [...pairs, ...(extraQuery === "" ? [] : [extraQuery])].join("&");
      return {
        ...rest,
        path: search === "" ? path : `${path}?${search}`,
        headers: { ...otherHeaders, ...headers, "x-forwarded-for": from, ...body?.headers },
        body: body?.text,
      };
    });
}

function bodyOf(requestBody: Operation["requestBody"], components: Record<string, JsonSchema>) {
  const json = { "content-type": "application/json" };
  const ofSchema = Object.entries(requestBody?.content ?? {}).flatMap(([type, media]) =>
    [undefined, 12].map((wildness) => ({
      weight: 5,
      arbitrary: valueOf(media?.schema ?? {}, components, wildness).map((value) => ({
        headers: { "content-type": type },
        text: type.endsWith("json") ? JSON.stringify(value) : asText(value),
      })),
    })),
  );
  const raw = fc.constantFrom(
    ...[
      "",
      "{",
      "[]",
      "null",
      "7",
      '"x"',
      "\u0000",
      '{"__proto__":{"admin":true},"constructor":{"prototype":{}}}',
    ],
    ...["[".repeat(5000), `{"a":"${"x".repeat(700_000)}"}`],
  );
  return fc.oneof(
    { weight: requestBody ? 1 : 19, arbitrary: fc.constant(undefined) },
    ...ofSchema,
    {
      weight: 1,
      arbitrary: fc.record({ headers: fc.constant(json), text: fc.oneof(raw, fc.json(), wildText) }),
    },
    {
      weight: requestBody ? 1 : 0,
      arbitrary: fc.record({
        headers: fc.record({
          "content-type": fc.constantFrom(
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/json; charset=x",
          ),
        }),
        text: fc.json(),
      }),
    },
  );
}

function asText(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** Percent-encoded, also what is no well-formed text. */
function encoded(text: string): string {
  return encodeURIComponent(Buffer.from(text).toString()).replaceAll("%40known-", "@known-");
}

function sendable(value: string | undefined): string {
  return (value ?? "").replaceAll(/[^\u0020-\u007e\u00a0-\u00ff]/g, "");
}
