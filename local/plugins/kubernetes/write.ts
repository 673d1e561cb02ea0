import { setTimeout as sleep } from "node:timers/promises";
import { at, isObject, listAt, textAt, type Json, type JsonObject } from "../common/wire.ts";
import { ApiError, NoMatchError, type Client } from "./client.ts";
import { annotation, apiVersionOf, kindOf, nameOf, namespaceOf } from "./objects.ts";

export interface WriteOptions {
  fieldManager: string;
  preview: boolean;
  signal: AbortSignal;
}

const CREATE_ATTEMPTS = 5;
const FIELD_CONFLICT_HELP =
  'another manager owns these fields: leave them out of the program, name them in ignoreChanges, or set the annotation "pulumi.com/patchForce"';

const common = ({ fieldManager, preview }: WriteOptions): Record<string, string> => ({
  fieldManager,
  fieldValidation: "Strict",
  ...(preview && { dryRun: "All" }),
});

export function isMissingNamespace(error: unknown, object: JsonObject): boolean {
  return (
    error instanceof ApiError && error.code === 404 && error.message.includes(`"${namespaceOf(object)}"`)
  );
}

/**
 * Creates an object and fails when it exists. Asks again for a while when what it needs (a namespace, a definition)
 * is not there yet.
 */
export async function create(
  object: JsonObject,
  client: Client,
  options: WriteOptions,
  report: (message: string) => void,
): Promise<JsonObject> {
  for (let attempt = 1; ; attempt++) {
    try {
      const path = await client.path(apiVersionOf(object), kindOf(object), namespaceOf(object));
      return await client.request("POST", path, {
        query: common(options),
        body: object,
        signal: options.signal,
      });
    } catch (error) {
      const absent = error instanceof NoMatchError || (error instanceof ApiError && error.code === 404);
      if (!absent || options.preview || attempt === CREATE_ATTEMPTS) throw error;
      report(`Retry #${attempt}; creation failed: ${error.message}`);
      await sleep(500 * 2 ** attempt, undefined, { signal: options.signal });
    }
  }
}

/** Makes the object what the inputs say, by server-side apply; what others manage stays theirs. */
export async function apply(object: JsonObject, client: Client, options: WriteOptions): Promise<JsonObject> {
  const path = await client.path(apiVersionOf(object), kindOf(object), namespaceOf(object), nameOf(object));
  const { signal } = options;
  const live = await client.request("GET", path, { signal });
  const managed = listAt(live, "metadata", "managedFields");
  const created = managed.some((entry) => isOwnUpdate(entry, options.fieldManager));
  if (created && !options.preview) await adoptCreatedFields(path, live, client, options);
  return patch(object, client, options, created && options.preview);
}

/** Makes the object's given fields what the inputs say, and the object where there is none. */
export async function patch(
  object: JsonObject,
  client: Client,
  options: WriteOptions,
  forced = false,
): Promise<JsonObject> {
  const path = await client.path(apiVersionOf(object), kindOf(object), namespaceOf(object), nameOf(object));
  const force = forced || annotation(object, "pulumi.com/patchForce") === "true";
  try {
    return await client.request("PATCH", path, {
      query: { ...common(options), force: String(force) },
      body: object,
      contentType: "application/apply-patch+yaml",
      signal: options.signal,
    });
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 409) throw error;
    throw new ApiError(
      409,
      { message: `${error.message}\n${FIELD_CONFLICT_HELP}`, reason: error.reason },
      "",
    );
  }
}

/** What a patch said is nobody's any more; the object stays, as it is another's. */
export async function relinquish(object: JsonObject, client: Client, options: WriteOptions): Promise<void> {
  const identity = { name: nameOf(object), namespace: namespaceOf(object) };
  await patch(
    { apiVersion: apiVersionOf(object), kind: kindOf(object), metadata: identity },
    client,
    options,
  );
}

const isOwnUpdate = (entry: Json, fieldManager: string): boolean =>
  textAt(entry, "operation") === "Update" &&
  textAt(entry, "subresource") === "" &&
  (textAt(entry, "manager") === fieldManager || textAt(entry, "manager").startsWith("pulumi-kubernetes"));

/**
 * An object is created by POST, which the server books as another way of managing fields than apply. Without this
 * a field that leaves the program would stay on the object.
 */
async function adoptCreatedFields(
  path: string,
  live: JsonObject,
  client: Client,
  { fieldManager, signal }: WriteOptions,
): Promise<void> {
  const managed = listAt(live, "metadata", "managedFields").filter(isObject);
  const own = managed.filter(
    (entry) =>
      isOwnUpdate(entry, fieldManager) || (entry.manager === fieldManager && entry.operation === "Apply"),
  );
  const fields = own.map((entry) => entry.fieldsV1 ?? {}).reduce(mergeFields, {});
  const adopted = { ...own[0], manager: fieldManager, operation: "Apply", fieldsV1: fields };
  const managedFields: Json[] = [...managed.filter((entry) => !own.includes(entry)), adopted];
  const patch: Json = [
    { op: "test", path: "/metadata/resourceVersion", value: textAt(live, "metadata", "resourceVersion") },
    { op: "replace", path: "/metadata/managedFields", value: managedFields },
  ];
  await client.request("PATCH", path, { body: patch, contentType: "application/json-patch+json", signal });
}

function mergeFields(left: Json, right: Json): Json {
  if (!isObject(left) || !isObject(right)) return right;
  const merged: JsonObject = { ...left };
  for (const [key, value] of Object.entries(right))
    merged[key] = key in left ? mergeFields(left[key] ?? {}, value) : value;
  return merged;
}

/** Asks for the deletion, of dependents first unless told otherwise; false when there is nothing to delete. */
export async function remove(path: string, inputs: JsonObject, client: Client): Promise<boolean> {
  const policies: Record<string, string> = {
    foreground: "Foreground",
    background: "Background",
    orphan: "Orphan",
  };
  const asked = annotation(inputs, "pulumi.com/deletionPropagationPolicy").toLowerCase();
  const body = { propagationPolicy: policies[asked] ?? "Foreground" };
  try {
    await client.request("DELETE", path, { body });
    return true;
  } catch (error) {
    if (error instanceof ApiError && error.code === 404) return false;
    throw error;
  }
}

/** The wanted object with ignored fields taken from the live one, so that an apply neither changes nor drops them. */
export function withIgnoredFields(wanted: JsonObject, live: JsonObject, ignored: string[]): JsonObject {
  return ignored.reduce((object, path) => replaceAt(object, live, path.split(".")), wanted);
}

function replaceAt(object: JsonObject, live: JsonObject, [first, ...rest]: string[]): JsonObject {
  if (first === undefined || !(first in live)) return object;
  if (rest.length === 0) return { ...object, [first]: live[first] ?? null };
  const [inner, liveInner] = [at(object, first) ?? {}, at(live, first)];
  if (!isObject(inner) || !isObject(liveInner)) return object;
  return { ...object, [first]: replaceAt(inner, liveInner, rest) };
}
