/**
 * What a provider's Node SDK says of its resources: which properties are the person's, which are the provider's answer, and
 * which cannot be changed afterwards. The SDK is generated from the provider's own schema, so that the stand-in need not
 * know any resource by heart.
 */
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { isObject, type Json, type JsonObject } from "../common/wire.ts";

const UNKNOWN: Json = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";
const packages = path.join(import.meta.dirname, "..", "..", "..", "node_modules", "@pulumi");

export interface ResourceShape {
  /** The input that names the resource, which the provider makes up when it is not given. */
  readonly name: string;
  /** Whether it is a part of another resource, such as a pool of a cluster. */
  readonly isPart: boolean;
  /** Every property of the finished resource, with the name of its type where that is an object of the SDK. */
  readonly outputs: ReadonlyMap<string, string | undefined>;
  /** A change of one of these makes another resource of it. */
  readonly replaces: ReadonlySet<string>;
}

const groupName = "resourceGroupName";
/** What a resource is about that can be about any other. */
const anywhere = ["scope", "resourceUri"];
const shapes = new Map<string, ResourceShape | undefined>();

/** The shape of a type such as `azure-native:keyvault:Vault`; undefined for one that the SDK does not have. */
export function shapeOf(type: string): ResourceShape | undefined {
  if (!shapes.has(type)) shapes.set(type, readShape(type));
  return shapes.get(type);
}

function readShape(type: string): ResourceShape | undefined {
  const [provider = "", module = "", kind = ""] = type.split(":");
  const folder = module.split("/")[0] ?? "";
  const file = `${kind.charAt(0).toLowerCase()}${kind.slice(1)}`;
  const base = path.join(packages, provider, folder === "index" ? "" : folder, file);
  if (!existsSync(`${base}.js`) || !existsSync(`${base}.d.ts`)) return undefined;
  const source = readFileSync(`${base}.js`, "utf8");
  const declared = readFileSync(`${base}.d.ts`, "utf8");

  const fresh = source.slice(source.indexOf("if (!opts.id)"), source.lastIndexOf("else {"));
  const set = [...fresh.matchAll(/resourceInputs\["(\w+)"\] = (undefined)?/g)];
  const inputs = set.flatMap(([, name = "", none]) => (none === undefined ? [name] : []));
  const required = new Set([...fresh.matchAll(/Missing required property '(\w+)'/g)].map(([, name]) => name));
  const [made = "", asked = ""] = declared.split(`export interface ${kind}Args`);
  const outputs = new Map(
    [...made.matchAll(/readonly (\w+): pulumi\.Output<(?:outputs\.([\w.]+))?/g)].map(
      ([, name = "", of]) => [name, of] as const,
    ),
  );
  // A name that is asked for and never given back is a part of the resource's address.
  const address = inputs.filter((name) =>
    outputs.has(name) ? anywhere.includes(name) : required.has(name) || name.endsWith("Name"),
  );
  const ownName = address.find((name) => name.endsWith("Name") && !required.has(name) && name !== groupName);
  const fixed = [...asked.matchAll(/\/\*\*((?:(?!\*\/)[^])*)\*\/\s+(\w+)\??:/g)].flatMap(
    ([, text = "", name]) => (name !== undefined && unchangeable.test(text) ? [name] : []),
  );
  const name = kind === "ResourceGroup" ? groupName : (ownName ?? "name");
  const isPart = address.some((part) => ![name, groupName, ...anywhere].includes(part));
  return { name, isPart, outputs, replaces: new Set(["location", ...address, ...fixed]) };
}

/** How the SDK's documentation says that a property stays as it was made. */
const unchangeable =
  /once set to a given value, it cannot be changed|cannot be (?:changed|updated) (?:once|after)|property is immutable|cannot be updated without deleting/i;

/** What a preview knows of a resource: what was asked for, and that the rest will be known later. */
export function previewed(type: string, inputs: JsonObject): JsonObject {
  const shape = shapeOf(type);
  if (!shape) return inputs;
  const provider = type.split(":")[0] ?? "";
  return withUnknowns(provider, shape.outputs, inputs);
}

function withUnknowns(
  provider: string,
  fields: ReadonlyMap<string, string | undefined>,
  given: JsonObject,
): JsonObject {
  const entries = [...fields].map(([name, of]): [string, Json] => {
    const value = given[name];
    if (value === undefined) return [name, UNKNOWN];
    return [
      name,
      of !== undefined && isObject(value) ? withUnknowns(provider, fieldsOf(provider, of), value) : value,
    ];
  });
  return { ...given, ...Object.fromEntries(entries) };
}

const texts = new Map<string, string>();

/** Fields of a type such as `keyvault.VaultPropertiesResponse`; none when it is no object with fields of its own. */
function fieldsOf(provider: string, name: string): ReadonlyMap<string, string | undefined> {
  const file = path.join(packages, provider, "types", "output.d.ts");
  const text = texts.get(provider) ?? (existsSync(file) ? readFileSync(file, "utf8") : "");
  texts.set(provider, text);
  const [module = "", kind = ""] = name.split(".");
  const space = text.indexOf(`export declare namespace ${module} {`);
  const start = space < 0 ? -1 : text.indexOf(`    interface ${kind} {`, space);
  if (start < 0) return new Map();
  const body = text.slice(start, text.indexOf("\n    }", start));
  const fields = [...body.matchAll(/^ {8}(\w+)\??: (?:outputs\.([\w.]+);)?/gm)];
  return new Map(fields.map(([, field = "", of]) => [field, of]));
}
