/** Which images are built here, from what, and which cannot be. */
import { join } from "node:path";
import type { GoModuleName } from "../goModules.ts";

export const repository = join(import.meta.dirname, "..", "..");

/** Part of every tag: a newer date makes new images, with the packages that Debian has by then. */
export const packagesAsOf = "2026-11-23";

/** The name that our Dockerfiles start from; where no registry answers, an image made by mmdebstrap bears it. */
export const baseImage = "docker.io/library/debian:trixie-slim";

const docs = ["doc", "man", "info", "locale", "lintian"].map((directory) => `/usr/share/${directory}/*`);

const keepNothing = [
  'APT::Keep-Downloaded-Packages "false"',
  'Dir::Cache::pkgcache ""',
  'Dir::Cache::srcpkgcache ""',
];

/** How mmdebstrap makes it: without documentation and downloads, as Debian's own slim image is. */
export const baseRecipe: readonly string[] = [
  "--variant=minbase",
  "--format=tar",
  ...docs.map((path) => `--dpkgopt=path-exclude=${path}`),
  "--dpkgopt=path-include=/usr/share/doc/*/copyright",
  // Not by --aptopt: mmdebstrap itself needs the downloads that this drops, and then leaves the caches behind.
  `--customize-hook=printf '%s;\\n' ${keepNothing.map((line) => `'${line}'`).join(" ")} > "$1/etc/apt/apt.conf.d/groundwork" && rm -f "$1"/var/cache/apt/*.bin`,
];

export interface ImageSource {
  readonly name: string;
  /** Directory of the Dockerfile and of what it copies. */
  readonly context: string;
  /** Build argument → the image of this catalogue that it names; the image is built before this one. */
  readonly parents?: Readonly<Record<string, string>>;
  /** Paths that `npm ci` makes from the context's lock file and that are copied, where npm in a container cannot be had yet. */
  readonly npmPaths?: readonly string[];
  /** Program that is built from a Go module of local/modules and copied. */
  readonly goProgram?: { readonly module: GoModuleName; readonly program: string };
  /** Paths of a module that is not written in Go, fetched and checked as go.mod and go.sum of a local module pin it, and copied. */
  readonly goSource?: { readonly module: string; readonly path: string; readonly entries: readonly string[] };
  /** What a build takes on two busy cores, for the progress line. */
  readonly expectedSeconds: number;
}

/** Ours in every world: products of this repository. */
const products: readonly ImageSource[] = [
  { name: "postgres", context: join(repository, "images", "postgres"), expectedSeconds: 100 },
  { name: "exporters", context: join(repository, "images", "exporters"), expectedSeconds: 30 },
  {
    name: "app",
    context: join(repository, "app"),
    parents: { NODE_IMAGE: "node" },
    expectedSeconds: 60,
  },
];

/** Built only where the upstream image cannot be pulled, longest first. */
const standIns: readonly ImageSource[] = [
  {
    name: "node",
    context: standIn("node"),
    npmPaths: ["node_modules/npm", `node_modules/node-linux-${process.arch}/bin`],
    expectedSeconds: 30,
  },
  { name: "azurite", context: standIn("azurite"), parents: { NODE_IMAGE: "node" }, expectedSeconds: 45 },
  { name: "prometheus", context: standIn("prometheus"), expectedSeconds: 30 },
  { name: "alertmanager", context: standIn("alertmanager"), expectedSeconds: 20 },
  { name: "blackbox", context: standIn("blackbox"), expectedSeconds: 15 },
  { name: "nginx-exporter", context: standIn("nginx-exporter"), expectedSeconds: 10 },
  { name: "redis", context: standIn("redis"), expectedSeconds: 10 },
  {
    name: "nginx",
    context: standIn("nginx"),
    // Debian's is older than production's, and loses requests when it reloads.
    goSource: { module: "nginx", path: "github.com/nginx/nginx", entries: ["auto", "src"] },
    expectedSeconds: 60,
  },
];

/** Built only where logs are collected, too: their programs take long to compile. */
const logging: readonly ImageSource[] = [
  goImage("loki", "loki", "loki"),
  goImage("otel-collector", "telemetry", "otelcol-contrib"),
  goImage("jaeger", "telemetry", "jaeger"),
];

/** What no stack runs, and only one command: its upstream image, and how it is built where that cannot be pulled. */
export const tools = {
  k6: {
    upstream:
      "docker.io/grafana/k6:1.4.2@sha256:3656673de3f30424e8ebcfa46acd9558d83b6a43612d0f668ffeac953950c6c7",
    source: goImage("k6", "k6", "k6"),
  },
} as const;

/** Whether this run is `make up LOGS=1`. */
export const collectsLogs = (): boolean => process.env["LOGS"] === "1";

/** How images come about: with a Docker that can pull from registries, or from packages alone. */
export type World = "docker" | "packages";

/** Images that are only built upon and never run. */
const buildTime = new Set(["node"]);

export function sources(world: World): readonly ImageSource[] {
  if (world === "packages") return [...products, ...standIns, ...(collectsLogs() ? logging : [])];
  // Dockerfiles name the upstream image to build upon; nothing of ours is put in its place.
  return products.map((source) => ({ ...source, parents: {} }));
}

export function isRun(source: ImageSource): boolean {
  return !buildTime.has(source.name);
}

/** Images that no package here contains, each with the reason. */
export function missing(world: World): Record<string, string> {
  if (world === "docker") return {};
  return { grafana: "no registry answers, and neither Debian nor another package source here has Grafana" };
}

function goImage(name: string, module: GoModuleName, program: string): ImageSource {
  return { name, context: standIn(name), goProgram: { module, program }, expectedSeconds: 15 };
}

function standIn(name: string): string {
  return join(import.meta.dirname, name);
}
