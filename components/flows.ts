import type { Flow, Workload } from "./networkPolicies";

/** Every workload of the stack that a network policy names, and its namespace. */
export const workloads = {
  edge: "edge",
  app: "app",
  "app-migrate": "app",
  postgres: "data",
  "redis-queue": "data",
  "redis-cache": "data",
  azurite: "data",
  backup: "data",
  "backup-verify": "data",
  "backup-exporter": "data",
  prometheus: "monitoring",
  alertmanager: "monitoring",
  grafana: "monitoring",
} as const satisfies Record<string, Workload>;

/** Every connection that is allowed; what is not listed here is dropped, in both directions. */
export const flows: readonly Flow<keyof typeof workloads>[] = [
  { from: "internet", to: "edge", port: 8443 },
  { from: "internet", to: "edge", port: 8080 },
  { from: "edge", to: "app", port: 3000 },
  { from: "app", to: "postgres", port: 5432 },
  { from: "app", to: "redis-queue", port: 6379 },
  { from: "app", to: "redis-cache", port: 6379 },
  { from: "app-migrate", to: "postgres", port: 5432 },
  { from: "postgres", to: "postgres", port: 5432 },
  { from: "postgres", to: "postgres", port: 8008 },
  { from: "postgres", to: "apiServer", port: 443 },
  { from: "postgres", to: "apiServer", port: 6443 },
  { from: "backup", to: "postgres", port: 5432 },
  { from: "backup", to: "azurite", port: 10000 },
  { from: "backup-verify", to: "azurite", port: 10000 },
  { from: "backup-exporter", to: "azurite", port: 10000 },
  { from: "backup", to: "internet", port: 443 },
  { from: "backup-verify", to: "internet", port: 443 },
  { from: "backup-exporter", to: "internet", port: 443 },
  { from: "prometheus", to: "app", port: 9464 },
  { from: "prometheus", to: "postgres", port: 8008 },
  { from: "prometheus", to: "backup-exporter", port: 9469 },
  { from: "prometheus", to: "alertmanager", port: 9093 },
  { from: "alertmanager", to: "internet", port: 443 },
  { from: "alertmanager", to: "internet", port: 587 },
  { from: "grafana", to: "prometheus", port: 9090 },
];
