import type { DiffKind, Provider } from "../common/provider.ts";
import { serveProvider } from "../common/providerService.ts";
import { textAt, withoutNulls } from "../common/wire.ts";
import { azureAdds, azureId, azureInvoke, withAzureName } from "./azure.ts";
import { changedKeys, resourceDiff } from "./diff.ts";
import { dockerAdds } from "./docker.ts";
import { previewed } from "./sdk.ts";

/**
 * Accepts every resource of a provider and gives its inputs back: enough for previews and for the engine's work. What is
 * known before the resource exists it reads from the provider's SDK, and so most of what a change would replace (`diff.ts`).
 */
const name = process.env.PLUGIN_NAME ?? "";
const isAzure = name === "azure-native";

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
  diff: resourceDiff,
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
  update: ({ type, id, olds, news, preview }) => {
    if (!preview) return { ...olds, ...news, ...(isAzure ? azureAdds(type, id) : dockerAdds(type, news)) };
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
