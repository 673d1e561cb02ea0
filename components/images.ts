import type * as pulumi from "@pulumi/pulumi";

/** The images that the stack runs, by the name they go by in `groundwork:images`. */
export const imageNames = [
  "app",
  "postgres",
  "redis",
  "nginx",
  "nginx-exporter",
  "prometheus",
  "alertmanager",
  "blackbox",
  "grafana",
  "azurite",
  "exporters",
  "loki",
  "jaeger",
  "otel-collector",
] as const;

export type ImageName = (typeof imageNames)[number];

/** References of the images to run; every name that is not in the map takes its upstream default. */
export type ImageMap = Readonly<Partial<Record<ImageName, string>>>;

/** Images that are built from this repository, and the directory of each one's Dockerfile. */
export const ownImages = {
  app: "app",
  postgres: "images/postgres",
  exporters: "images/exporters",
} as const satisfies Partial<Record<ImageName, string>>;

/** Upstream images, fixed to their content; what is built from this repository has none. */
const upstream: ImageMap = {
  redis:
    "docker.io/library/redis:8.2.1-alpine@sha256:987c376c727652f99625c7d205a1cba3cb2c53b92b0b62aade2bd48ee1593232",
  nginx:
    "docker.io/library/nginx:1.28-alpine@sha256:a8b39bd9cf0f83869a2162827a0caf6137ddf759d50a171451b335cecc87d236",
  "nginx-exporter":
    "docker.io/nginx/nginx-prometheus-exporter:1.4.2@sha256:6edfb73afd11f2d83ea4e8007f5068c3ffaa38078a6b0ad1339e5bd2f637aacd",
  blackbox:
    "docker.io/prom/blackbox-exporter:v0.27.0@sha256:a50c4c0eda297baa1678cd4dc4712a67fdea713b832d43ce7fcc5f9bea05094d",
  prometheus:
    "docker.io/prom/prometheus:v3.5.0@sha256:63805ebb8d2b3920190daf1cb14a60871b16fd38bed42b857a3182bc621f4996",
  alertmanager:
    "docker.io/prom/alertmanager:v0.28.1@sha256:27c475db5fb156cab31d5c18a4251ac7ed567746a2483ff264516437a39b15ba",
  grafana:
    "docker.io/grafana/grafana:12.1.0@sha256:6ac590e7cabc2fbe8d7b8fc1ce9c9f0582177b334e0df9c927ebd9670469440f",
  azurite:
    "mcr.microsoft.com/azure-storage/azurite:3.35.0@sha256:647c63a91102a9d8e8000aab803436e1fc85fbb285e7ce830a82ee5d6661cf37",
  loki: "docker.io/grafana/loki:3.7.8@sha256:1107dd5274e0ada47e42472b7a7e71f3b2a2fe878878108f3e2f9e51528f0193",
  jaeger:
    "docker.io/jaegertracing/jaeger:2.21.0@sha256:3d0ac795ff98aa04d1be04311d2dac6c25b4bfc8322dc02e53bc5b170c5018c3",
  "otel-collector":
    "docker.io/otel/opentelemetry-collector-contrib:0.141.0@sha256:b14234c4bc1b7364629af272e564913bb57bdc9736d45b8b6db5ab3417dc75f9",
};

/**
 * The reference of an image, or undefined when neither the map nor upstream names one. A `mirror` takes the place of
 * upstream's registries: `docker.io/library/redis` becomes `<mirror>/library/redis`. What the map names stays as it is.
 */
export function imageReference(name: ImageName, images: ImageMap, mirror?: string): string | undefined {
  return images[name] ?? (mirror === undefined ? upstream[name] : upstream[name]?.replace(/^[^/]+/, mirror));
}

/** Looks up references that `loadConfig` has already found to exist, or that were built. */
export function requireImage(
  images: ImageMap,
  mirror?: string,
  built: Partial<Record<ImageName, pulumi.Input<string>>> = {},
): (name: ImageName) => pulumi.Input<string> {
  return (name) => {
    const reference = built[name] ?? imageReference(name, images, mirror);
    if (reference === undefined) throw new Error(`groundwork:images.${name} is missing`);
    return reference;
  };
}

/** Whether a reference is fixed to one content. */
export function hasDigest(reference: string): boolean {
  return /@sha256:[0-9a-f]{64}$/.test(reference);
}
