import { type DestinationStream, type Logger, pino } from "pino";
import { currentContext } from "./context.ts";

/** Cloud loggings' names for pino's levels. */
const severities: Record<string, string> = {
  debug: "DEBUG",
  info: "INFO",
  warn: "WARNING",
  error: "ERROR",
  fatal: "CRITICAL",
};

const secretKeys = ["authorization", "password", "token", "secret"];

/**
 * A logger of one JSON object per line. JSON escapes control characters, so that nothing a caller sends can begin a
 * line of its own. Take a child with `module` before use. Without a destination it writes to standard output.
 */
export function createLogger(level: string, destination: DestinationStream = pino.destination(1)): Logger {
  return pino(
    {
      level,
      base: null,
      messageKey: "message",
      errorKey: "error",
      timestamp: () => `,"timestamp":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label, severity: severities[label] }) },
      mixin: () => {
        const { requestId, traceId, tenantId, jobId } = currentContext();
        return { request_id: requestId, trace_id: traceId, tenant_id: tenantId, job_id: jobId };
      },
      redact: { paths: secretKeys.flatMap((key) => [key, `*.${key}`]), censor: "[redacted]" },
      serializers: { error: describeError },
    },
    destination,
  );
}

/** An error without its other fields: Postgres puts values of the row into `detail`. */
export function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) {
    return String(error);
  }
  const { code } = error as { code?: unknown };
  return {
    type: error.name,
    message: error.message,
    stack: error.stack,
    ...(typeof code === "string" && { code }),
    ...(error.cause !== undefined && { cause: describeError(error.cause) }),
  };
}
