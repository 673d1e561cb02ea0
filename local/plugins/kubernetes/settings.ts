import { textAt, type JsonObject } from "../common/wire.ts";
import type { Mutability } from "./replaceRules.ts";

/** The provider's configuration, each setting also to be had from the environment as with the real provider. */
export interface Settings {
  kubeconfig: string | undefined;
  context: string | undefined;
  namespace: string;
  serverSideApply: boolean;
  upsert: boolean;
  mutable: Mutability;
  deleteUnreachable: boolean;
}

export function readSettings(args: JsonObject): Settings {
  const flag = (key: string, variable: string, otherwise: boolean): boolean => {
    const value = args[key] ?? process.env[`PULUMI_K8S_${variable}`];
    return value === undefined ? otherwise : value === true || value === "true";
  };
  return {
    kubeconfig: textAt(args, "kubeconfig") || undefined,
    context: textAt(args, "context") || undefined,
    namespace: textAt(args, "namespace"),
    serverSideApply: flag("enableServerSideApply", "ENABLE_SERVER_SIDE_APPLY", true),
    upsert: flag("upsertExistingObjects", "UPSERT_EXISTING_OBJECTS", false),
    mutable: {
      configMaps: flag("enableConfigMapMutable", "ENABLE_CONFIGMAP_MUTABLE", false),
      secrets: flag("enableSecretMutable", "ENABLE_SECRET_MUTABLE", false),
    },
    deleteUnreachable: flag("deleteUnreachable", "DELETE_UNREACHABLE", false),
  };
}
