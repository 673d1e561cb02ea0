import type { DiffKind, Provider } from "../common/provider.ts";
import { noDiff } from "../common/provider.ts";
import { serveProvider } from "../common/providerService.ts";
import { reveal, textAt, withoutNulls, type JsonObject } from "../common/wire.ts";
import { azureAdds, azureId, azureInvoke, autoNamed, withAzureName } from "./azure.ts";
import { dockerAdds } from "./docker.ts";
import { previewed, shapeOf } from "./sdk.ts";

/**
 * Accepts every resource of a provider and gives its inputs back: enough for previews and for the engine's work. What is
 * known before the resource exists, and what a change would replace, it reads from the provider's SDK.
 */
const name = process.env.PLUGIN_NAME ?? "";
const isAzure = name === "azure-native";

const changedKeys = (olds: JsonObject, news: JsonObject): string[] =>
  [...new Set([...Object.keys(olds), ...Object.keys(news)])].filter((key) => {
    const [before, after] = [reveal(olds[key] ?? null), reveal(news[key] ?? null)];
    return JSON.stringify(before) !== JSON.stringify(after);
  });

const provider: Provider = {
  version: process.env.PLUGIN_VERSION ?? "",
  diffConfig: (olds, news) => {
    const keys = changedKeys(olds, news);
    const detailed = new Map<string, DiffKind>(keys.map((key) => [key, "UPDATE"]));
    return { changes: keys.length > 0, replaces: [], deleteBeforeReplace: false, detailed };
  },
  check: (input) => {
    const inputs = withoutNulls(input.news);
    return { inputs: isAzure ? withAzureName(inputs, input) : inputs };
  },
  diff: ({ type, oldInputs, news, ignoreChanges }) => {
    const keys = changedKeys(oldInputs, news).filter((key) => !ignoreChanges.includes(key));
    if (keys.length === 0) return noDiff;
    const fixed = isAzure ? shapeOf(type)?.replaces : undefined;
    const replaces = keys.filter((key) => fixed?.has(key));
    const detailed = new Map<string, DiffKind>(
      keys.map((key) => [key, replaces.includes(key) ? "UPDATE_REPLACE" : "UPDATE"]),
    );
    // Two of one name cannot be: only where the name was made up here can the new one come first.
    const deleteBeforeReplace = replaces.length > 0 && !(autoNamed in oldInputs);
    return { changes: true, replaces, deleteBeforeReplace, detailed };
  },
  create: ({ type, name: resourceName, news, preview }) => {
    if (preview) return { id: "", properties: previewed(type, news) };
    if (!isAzure)
      return { id: `${name}-${resourceName}`, properties: { ...news, ...dockerAdds(type, news) } };
    const id = azureId(type, resourceName, news);
    return {
      id,
      properties: { ...news, ...azureAdds(type, id), name: id.split("/").at(-1) ?? resourceName, id },
    };
  },
  update: ({ type, olds, news, preview }) => {
    if (!preview) return { ...olds, ...news, ...(!isAzure && dockerAdds(type, news)) };
    // Name and place never change, so that what depends on them stays known.
    const stable = isAzure ? ["name", "location"].filter((key) => olds[key] !== undefined) : [];
    return { ...previewed(type, news), ...Object.fromEntries(stable.map((key) => [key, olds[key] ?? null])) };
  },
  read: ({ id, olds, oldInputs }) => {
    const known = Object.keys(olds).length > 0;
    return { id, properties: known ? olds : { id, name: id.split("/").at(-1) ?? id }, inputs: oldInputs };
  },
  delete: () => undefined,
  invoke: (token, args) => (isAzure ? azureInvoke(token, args) : { ...args, id: textAt(args, "name") }),
};

await serveProvider(provider);
