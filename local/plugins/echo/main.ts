import type { DiffKind, Provider } from "../common/provider.ts";
import { noDiff } from "../common/provider.ts";
import { serveProvider } from "../common/providerService.ts";
import { isUnknown, reveal, textAt, withoutNulls, type JsonObject } from "../common/wire.ts";
import { azureAdds, azureId, azureInvoke, withAzureName } from "./azure.ts";

/** Accepts every resource of a provider and gives its inputs back: enough for previews and for the engine's work. */
const name = process.env.PLUGIN_NAME ?? "";
const isAzure = name === "azure-native";

const IDENTITY = /^(resourceGroupName|location|name|[a-zA-Z]+Name)$/;

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
  diff: ({ oldInputs, news, ignoreChanges }) => {
    const keys = changedKeys(oldInputs, news).filter((key) => !ignoreChanges.includes(key));
    if (keys.length === 0) return noDiff;
    const replaces = isAzure ? keys.filter((key) => IDENTITY.test(key) && !isUnknown(news[key])) : [];
    const detailed = new Map<string, DiffKind>(
      keys.map((key) => [key, replaces.includes(key) ? "UPDATE_REPLACE" : "UPDATE"]),
    );
    return { changes: true, replaces, deleteBeforeReplace: false, detailed };
  },
  create: ({ type, name: resourceName, news, preview }) => {
    if (preview) return { id: "", properties: news };
    if (!isAzure) return { id: `${name}-${resourceName}`, properties: news };
    const id = azureId(type, resourceName, news);
    return {
      id,
      properties: { ...news, ...azureAdds(type, id), name: id.split("/").at(-1) ?? resourceName, id },
    };
  },
  update: ({ olds, news }) => ({ ...olds, ...news }),
  read: ({ id, olds, oldInputs }) => {
    const known = Object.keys(olds).length > 0;
    return { id, properties: known ? olds : { id, name: id.split("/").at(-1) ?? id }, inputs: oldInputs };
  },
  delete: () => undefined,
  invoke: (token, args) => (isAzure ? azureInvoke(token, args) : { ...args, id: textAt(args, "name") }),
};

await serveProvider(provider);
