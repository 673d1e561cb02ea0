import { hasDigest, imageNames, imageReference } from "./images";
import type { StackValues } from "./config";

/** Connections kept free for Patroni, backups, monitoring and a person with psql. */
const reservedConnections = 10;

/** Mistakes that no single key shows: what contradicts another value, or what production does not accept. */
export function crossChecks(
  config: StackValues,
  secrets: { readonly tlsBundle?: string | undefined; readonly ageIdentity?: string | undefined },
): string[] {
  const problems: string[] = [];
  const { app, postgres, secrets: secretsConfig } = config;

  const connections = app.replicas * (app.poolSize + app.poolOverflow) + reservedConnections;
  if (connections > postgres.maxConnections) {
    problems.push(
      `groundwork:postgres.maxConnections: ${postgres.maxConnections} is too few for ${app.replicas} app pods with ` +
        `${app.poolSize} + ${app.poolOverflow} connections each and ${reservedConnections} in reserve; ` +
        `raise it to ${connections} or lower groundwork:app.poolSize`,
    );
  }
  for (const name of imageNames.filter((image) => isRun(image, config))) {
    const reference = imageReference(name, config.images);
    if (reference === undefined) {
      problems.push(
        `groundwork:images.${name}: missing; this image is built from the repository and has no default`,
      );
    } else if (config.environment === "production" && !hasDigest(reference)) {
      problems.push(
        `groundwork:images.${name}: production runs images by digest (found "${reference}", no @sha256:…)`,
      );
    }
  }
  if (secretsConfig.store === "keyVault" && !config.azure) {
    problems.push(
      "groundwork:azure: missing; secrets.store keyVault needs location, tenantId and oidcIssuerUrl",
    );
  }
  if (secretsConfig.store === "kubernetes") {
    for (const key of ["tlsBundle", "ageIdentity"] as const) {
      if (secrets[key] === undefined) {
        problems.push(
          `groundwork:${key}: missing; set it with: pulumi config set --secret groundwork:${key}`,
        );
      }
    }
  }
  if (config.environment === "production") problems.push(...productionChecks(config));
  return problems;
}

function productionChecks(config: StackValues): string[] {
  const atLeast = (key: string, value: number, least: number): string[] =>
    value >= least ? [] : [`groundwork:${key}: production needs at least ${least} (found ${value})`];
  return [
    ...atLeast("app.replicas", config.app.replicas, 2),
    ...atLeast("edge.replicas", config.edge.replicas, 2),
    ...atLeast("postgres.members", config.postgres.members, 3),
    ...(config.secrets.store === "keyVault"
      ? []
      : ["groundwork:secrets.store: production keeps secrets in keyVault"]),
  ];
}

/** Azurite stands in for Azure Blob in development only; Grafana may be left out. */
function isRun(image: (typeof imageNames)[number], config: StackValues): boolean {
  if (image === "azurite") return config.environment === "development";
  if (image === "grafana") return config.monitoring.grafana;
  return true;
}
