import { z } from "zod";

/** How a container in the app's place is run. */
export interface AppContainer {
  /** Program and arguments; `PORT` and `METRICS_PORT` tell it the two ports. */
  readonly command: readonly string[];
  /** TCP port of the API. */
  readonly port: number;
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
  metricsPort: 9464,
  livenessPath: "/health",
  readinessPath: "/ready",
  migration: ["node", "/app/dist/migrate.js", "up"],
} satisfies AppContainer;

const port = z.int().min(1_024).max(65_535);
const path = z.string().regex(/^\/[\w./-]*$/, "must be a path such as /ready");
const command = z.array(z.string().min(1));

/** `groundwork:app.container`. */
export const containerSchema = z
  .strictObject({
    command: command.min(1).default(ownContainer.command).describe("program and arguments of the pods"),
    port: port.default(ownContainer.port).describe("port of the API; the container gets it as PORT"),
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
  .prefault({});
