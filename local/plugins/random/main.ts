import type { DiffKind, Provider, ResourceRequest } from "../common/provider.ts";
import { noDiff } from "../common/provider.ts";
import { serveProvider } from "../common/providerService.ts";
import {
  contains,
  isUnknown,
  makeSecret,
  reveal,
  revealObject,
  withoutNulls,
  type Json,
} from "../common/wire.ts";
import { generators, isEqual, stringDefaults } from "./generate.ts";

const kindOf = (type: string): string => type.split(":").at(-1) ?? "";

function generatorOf(type: string): (typeof generators)[string] {
  const generator = generators[kindOf(type)];
  if (!generator)
    throw new Error(`the stand-in for random has no ${type}; it has ${Object.keys(generators).join(", ")}`);
  return generator;
}

/** Every setting is part of how the value came about: any change makes a new one. */
function diff(request: ResourceRequest): ReturnType<Provider["diff"]> {
  const before = Object.keys(request.oldInputs).length > 0 ? request.oldInputs : request.olds;
  const changed = [...new Set([...Object.keys(request.news), ...Object.keys(request.oldInputs)])].filter(
    (key) =>
      !key.startsWith("__") && !isEqual(reveal(before[key] ?? null), reveal(request.news[key] ?? null)),
  );
  const kept = changed.filter((key) => !request.ignoreChanges.some((path) => path.split(/[.[]/)[0] === key));
  if (kept.length === 0) return noDiff;
  const detailed = new Map<string, DiffKind>(kept.map((key) => [key, "UPDATE_REPLACE"]));
  return { changes: true, replaces: kept, deleteBeforeReplace: false, detailed };
}

const isText = (type: string): boolean => ["RandomPassword", "RandomString"].includes(kindOf(type));

const provider: Provider = {
  version: process.env.PLUGIN_VERSION ?? "",
  check: ({ type, news }) => {
    generatorOf(type);
    const inputs = withoutNulls(news);
    return { inputs: isText(type) ? stringDefaults(inputs) : inputs };
  },
  diff,
  create: ({ type, news, preview }) => {
    if (preview || contains(news, isUnknown)) return { id: "", properties: news };
    const { id, outputs, secrets } = generatorOf(type)(revealObject(news));
    const mark = ([key, value]: [string, Json]): [string, Json] =>
      secrets.includes(key) ? [key, makeSecret(value)] : [key, value];
    const marked = Object.entries(outputs).map(mark);
    return { id, properties: { ...news, ...Object.fromEntries(marked) } };
  },
  update: ({ olds }) => olds,
  read: ({ id, type, olds, oldInputs }) => {
    if (Object.keys(olds).length > 0) return { id, properties: olds, inputs: oldInputs };
    const length = id.length;
    const secret = kindOf(type) === "RandomPassword";
    const properties = { result: secret ? makeSecret(id) : id, length };
    return { id: secret ? "none" : id, properties, inputs: isText(type) ? stringDefaults({ length }) : {} };
  },
  delete: () => undefined,
};

await serveProvider(provider);
