/** What the app and its workers are both given in unit tests. */
import * as pulumi from "@pulumi/pulumi";

import { keepSettings } from "../../components/appSettings.ts";
import type { SecretStore } from "../../components/secrets/secretStore.ts";

/** A server of the data tier. */
export const endpoint = (host: string, port: number) => ({ host: `${host}.data.svc.cluster.local`, port });

/** Database, caches and keys, as they are kept in `secrets`. */
export function appParts(secrets: SecretStore) {
  const ca = secrets.keep("internal-ca", "pem");
  const user = (role: string) => ({ role, password: secrets.generate(`${role}-password`) });
  const redis = (host: string) => ({
    endpoint: endpoint(host, 6379),
    sentinels: [],
    user: "app",
    password: secrets.generate(host),
    ca,
  });
  return {
    ca,
    database: {
      endpoint: endpoint("postgres", 5432),
      database: "app",
      appUser: user("app_user"),
      owner: user("app_owner"),
      ca,
    },
    redisCache: redis("redis-cache"),
    redisQueue: redis("redis-queue"),
    fieldKeys: secrets.keep("fields", "{}"),
    settings: keepSettings(
      secrets,
      { AI_URL: "https://ai.example.org/v1" },
      { AI_KEYS_FILE: pulumi.secret("sk-1") },
    ),
  };
}
