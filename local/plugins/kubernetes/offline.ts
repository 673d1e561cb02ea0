/**
 * The stand-in for the kubernetes provider, with no cluster behind it: every object is taken to be what was asked for. Its
 * checks and differences are the same. For tests of a stack whose cluster cannot be had.
 */
import { EngineLog } from "../common/log.ts";
import type { ResourceRequest, ResourceState } from "../common/provider.ts";
import { serveProvider } from "../common/providerService.ts";
import { revealObject, type JsonObject } from "../common/wire.ts";
import * as objects from "./objects.ts";
import { KubernetesProvider } from "./provider.ts";

const fieldManager = "offline";

function stored(news: JsonObject): JsonObject {
  const inputs = objects.normalize(revealObject(news));
  return objects.checkpoint(inputs, inputs, news, objects.apiVersionOf(inputs), fieldManager);
}

class OfflineProvider extends KubernetesProvider {
  override create({ news, preview }: ResourceRequest): Promise<ResourceState> {
    const id = preview ? "" : objects.idOf(revealObject(news));
    return Promise.resolve({ id, properties: preview ? news : stored(news) });
  }

  override update({ news, preview }: ResourceRequest): Promise<JsonObject> {
    return Promise.resolve(preview ? news : stored(news));
  }

  override read({ id, olds, oldInputs }: ResourceRequest): Promise<ResourceState> {
    return Promise.resolve({ id, properties: olds, inputs: oldInputs });
  }

  override delete(): Promise<void> {
    return Promise.resolve();
  }
}

await serveProvider(new OfflineProvider(process.env.PLUGIN_VERSION ?? "", new EngineLog(process.argv[2])));
