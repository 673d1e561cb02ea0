/** The images that the stack runs, by the name they go by in `groundwork:images`. */
export const imageNames = [
  "app",
  "postgres",
  "redis",
  "nginx",
  "prometheus",
  "alertmanager",
  "grafana",
  "azurite",
] as const;

export type ImageName = (typeof imageNames)[number];

/** References of the images to run; every name that is not in the map takes its upstream default. */
export type ImageMap = Readonly<Partial<Record<ImageName, string>>>;

/** Upstream images; `app` and `postgres` are built from this repository, so a stack always names them. */
const upstream: ImageMap = {
  redis: "docker.io/library/redis:8.2",
  nginx: "docker.io/library/nginx:1.28",
  prometheus: "docker.io/prom/prometheus:v3.5.0",
  alertmanager: "docker.io/prom/alertmanager:v0.28.1",
  grafana: "docker.io/grafana/grafana:12.1.0",
  azurite: "mcr.microsoft.com/azure-storage/azurite:3.35.0",
};

/** The reference of an image, or undefined when neither the map nor upstream names one. */
export function imageReference(name: ImageName, images: ImageMap): string | undefined {
  return images[name] ?? upstream[name];
}

/** Whether a reference is fixed to one content. */
export function hasDigest(reference: string): boolean {
  return /@sha256:[0-9a-f]{64}$/.test(reference);
}
