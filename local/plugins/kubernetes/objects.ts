import {
  contains,
  isObject,
  isSecret,
  isUnknown,
  listAt,
  makeSecret,
  objectAt,
  revealObject,
  textAt,
  without,
  type Json,
  type JsonObject,
} from "../common/wire.ts";

export const INPUTS = "__inputs";
export const INITIAL_API_VERSION = "__initialApiVersion";
export const FIELD_MANAGER = "__fieldManager";
export const AUTONAMED = "pulumi.com/autonamed";

export const apiVersionOf = (object: Json): string => textAt(object, "apiVersion");
export const kindOf = (object: Json): string => textAt(object, "kind");
export const nameOf = (object: Json): string => textAt(object, "metadata", "name");
export const namespaceOf = (object: Json): string => textAt(object, "metadata", "namespace");
export const annotation = (object: Json, key: string): string =>
  textAt(object, "metadata", "annotations", key);
export const hasUnknowns = (object: Json): boolean => contains(object, isUnknown);

/** How a resource is identified in the state: `namespace/name`, or the name where there is no namespace. */
export function idOf(object: Json): string {
  const namespace = namespaceOf(object);
  return namespace ? `${namespace}/${nameOf(object)}` : nameOf(object);
}

export function parseId(id: string): { namespace: string; name: string } {
  const [first = "", second] = id.split("/");
  return second === undefined ? { namespace: "", name: first } : { namespace: first, name: second };
}

/** Whether resources of this type change a part of an object that somebody else made. */
export const isPatch = (type: string): boolean => type.endsWith("Patch");

/** The API version and kind that a resource's type token stands for. */
export function gvkOfType(type: string): { apiVersion: string; kind: string } {
  const [, module = "", token = ""] = type.split(":");
  const kind = isPatch(type) ? token.slice(0, -"Patch".length) : token;
  const [group = "", version = ""] = module.split("/");
  return { apiVersion: group === "core" || group === "" ? version : `${group}/${version}`, kind };
}

/** Marks in `outs` what is secret in `ins`; a Secret's own data always is. Lists are secret as a whole. */
export function copySecrets(outs: JsonObject, ins: JsonObject): JsonObject {
  const marked: JsonObject = { ...outs };
  if (marked.kind === "Secret") {
    for (const key of ["data", "stringData"]) {
      const value = marked[key];
      if (value !== undefined && value !== null) marked[key] = makeSecret(value);
    }
    return marked;
  }
  for (const [key, from] of Object.entries(ins)) {
    const to = marked[key];
    if (to === undefined) continue;
    if (isObject(to) && isObject(from) && !isSecret(to) && !isSecret(from))
      marked[key] = copySecrets(to, from);
    else if (contains(from, isSecret)) marked[key] = makeSecret(to);
  }
  return marked;
}

/** What is stored of a resource: its live state, its inputs, and who manages its fields. */
export function checkpoint(
  inputs: JsonObject,
  live: JsonObject,
  secretsFrom: JsonObject,
  initialApiVersion: string,
  fieldManager: string,
): JsonObject {
  return {
    ...copySecrets(live, secretsFrom),
    [INPUTS]: copySecrets(inputs, secretsFrom),
    [INITIAL_API_VERSION]: initialApiVersion,
    [FIELD_MANAGER]: fieldManager,
  };
}

/** The plain inputs and live state of a stored resource. */
export function parseCheckpoint(state: JsonObject): { inputs: JsonObject; live: JsonObject } {
  const plain = revealObject(state);
  return {
    inputs: objectAt(plain, INPUTS),
    live: without(plain, INPUTS, INITIAL_API_VERSION, FIELD_MANAGER),
  };
}

const READ_ONLY_METADATA = [
  "creationTimestamp",
  "deletionGracePeriodSeconds",
  "deletionTimestamp",
  "generation",
  "managedFields",
  "resourceVersion",
  "uid",
];

/** Inputs in the shape in which the server keeps them, so that equal meaning compares equal. */
export function normalize(object: JsonObject): JsonObject {
  const normal: JsonObject = { ...object };
  if (isObject(normal.metadata)) normal.metadata = without(normal.metadata, ...READ_ONLY_METADATA);
  if (kindOf(normal) === "Secret" && apiVersionOf(normal) === "v1" && isObject(normal.stringData)) {
    const encoded = Object.entries(normal.stringData).map(([key, value]): [string, Json] => [
      key,
      typeof value === "string" && !isUnknown(value) ? Buffer.from(value).toString("base64") : value,
    ]);
    normal.data = { ...objectAt(normal, "data"), ...Object.fromEntries(encoded) };
    delete normal.stringData;
  }
  return normal;
}

/** The server drops fields that say nothing. */
function isEmpty(value: Json): boolean {
  if (value === null || value === "" || value === false || value === 0) return true;
  if (Array.isArray(value)) return value.length === 0;
  return isObject(value) && Object.values(value).every(isEmpty);
}

/** The part of a live object that the inputs speak about; an empty field that the server dropped counts as kept. */
export function prune(live: Json, shape: Json): Json {
  if (isObject(live) && isObject(shape)) {
    const kept: JsonObject = {};
    for (const [key, part] of Object.entries(shape)) {
      const value = live[key];
      if (value !== undefined) kept[key] = prune(value, part);
      else if (isEmpty(part)) kept[key] = part;
    }
    return kept;
  }
  if (Array.isArray(live) && Array.isArray(shape)) {
    return live.slice(0, shape.length).map((item, index) => prune(item, shape[index] ?? null));
  }
  return live;
}

export function pruneObject(live: JsonObject, shape: JsonObject): JsonObject {
  const pruned = prune(live, shape);
  return isObject(pruned) ? pruned : {};
}

export function condition(object: Json, type: string): JsonObject | undefined {
  return listAt(object, "status", "conditions")
    .filter(isObject)
    .find((item) => item.type === type);
}
