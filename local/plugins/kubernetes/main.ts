import { EngineLog } from "../common/log.ts";
import { serveProvider } from "../common/providerService.ts";
import { KubernetesProvider } from "./provider.ts";

await serveProvider(new KubernetesProvider(process.env.PLUGIN_VERSION ?? "", new EngineLog(process.argv[2])));
