import { SpanKind } from "@opentelemetry/api";
import type { PoolClient } from "pg";
import { isRecording, traced } from "../observability/tracing.ts";

/** Told of every statement that ended, and whether it failed. */
export type QueryDone = (outcome: "success" | "failure") => void;

/** Counts the connection's statements, and gives each a span while the request it belongs to is being recorded. */
export function observeQueries(client: PoolClient, done: QueryDone = () => undefined): void {
  const query = client.query.bind(client) as (...args: unknown[]) => unknown;
  const observed = (...args: unknown[]): unknown => {
    const run = () => query(...args);
    const result = isRecording() ? inSpan(args[0], run) : run();
    // Anything but a promise (a callback's or a stream's) is not used by the app, only by pg itself.
    if (result instanceof Promise) {
      result.then(
        () => {
          done("success");
        },
        () => {
          done("failure");
        },
      );
    }
    return result;
  };
  client.query = observed as typeof client.query;
}

function inSpan(statement: unknown, run: () => unknown): Promise<unknown> {
  const text = typeof statement === "string" ? statement : "";
  // A read is sent together with the setting that it is read under.
  const operation = /^\s*(?:set local [^;]*;\s*)?([a-z]+)/i.exec(text)?.[1]?.toUpperCase() ?? "QUERY";
  const attributes = {
    "db.system.name": "postgresql",
    "db.operation.name": operation,
    // Values are parameters, except in what is sent in one message: no literal goes out.
    "db.query.text": text.replaceAll(/'(?:''|[^'])*'/g, "?").replace(/\s+/g, " "),
  };
  return traced(operation, { kind: SpanKind.CLIENT, attributes }, async () => await run());
}
