import type * as k8s from "@pulumi/kubernetes";
import { z } from "zod";

/** How a container in the app's place is run. */
export interface AppContainer {
  /** Program and arguments; `PORT` and `METRICS_PORT` tell it the two ports. */
  readonly command: readonly string[];
  /** TCP port of the API. */
  readonly port: number;
  /** Whether that port speaks TLS, by the certificate and key that `TLS_FILE` names. */
  readonly tls: boolean;
  /** TCP port of `/metrics`. */
  readonly metricsPort: number;
  /** Path that answers 200 while the process need not be restarted. */
  readonly livenessPath: string;
  /** Path that answers 200 while requests may be sent. */
  readonly readinessPath: string;
  /** Program and arguments that bring the schema to what the image needs; empty: there is no such program. */
  readonly migration: readonly string[];
}

/** The app of this repository. */
export const ownContainer = {
  command: ["node", "/app/dist/server.js"],
  port: 3000,
  tls: true,
  metricsPort: 9464,
  livenessPath: "/health",
  readinessPath: "/ready",
  migration: ["node", "/app/dist/migrate.js", "up"],
} satisfies AppContainer;

/** Whether a container runs this repository's app, whose variables and users the stack knows. */
export function isOwn({ command }: AppContainer): boolean {
  return command.join(" ") === ownContainer.command.join(" ");
}

/** How a container's API is reached: its port's name, the Services' before it, and the kubelet's probes, which check no name. */
export function served({ tls }: AppContainer): {
  readonly api: { readonly name: string; readonly port: number };
  readonly probe: (path: string) => k8s.types.input.core.v1.Probe;
} {
  const api = tls ? { name: "https", port: 443 } : { name: "http", port: 80 };
  const scheme = tls ? { scheme: "HTTPS" } : {};
  return { api, probe: (path) => ({ httpGet: { path, port: api.name, ...scheme }, timeoutSeconds: 3 }) };
}

const port = z.int().min(1_024).max(65_535);
const path = z.string().regex(/^\/[\w./-]*$/, "must be a path such as /ready");
const command = z.array(z.string().min(1));

/** `groundwork:app.container`. */
export const containerSchema = z
  .strictObject({
    command: command.min(1).default(ownContainer.command).describe("program and arguments of the pods"),
    port: port.default(ownContainer.port).describe("port of the API; the container gets it as PORT"),
    tls: z
      .boolean()
      .default(ownContainer.tls)
      .describe("whether that port speaks TLS, by the certificate and key in the file that TLS_FILE names"),
    metricsPort: port
      .default(ownContainer.metricsPort)
      .describe("port of /metrics; the container gets it as METRICS_PORT"),
    livenessPath: path
      .default(ownContainer.livenessPath)
      .describe("answers 200 while the process need not be restarted"),
    readinessPath: path
      .default(ownContainer.readinessPath)
      .describe("answers 200 while requests may be sent"),
    migration: command
      .default(ownContainer.migration)
      .describe("program and arguments that bring the schema up to date before a rollout; empty: none"),
  })
  .refine((container) => container.port !== container.metricsPort, {
    path: ["metricsPort"],
    message: "must be another port than that of the API",
  })
  .prefault({});
