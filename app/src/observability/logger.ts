import { trace } from "@opentelemetry/api";
import { type DestinationStream, type Logger, pino } from "pino";
import { currentContext } from "./context.ts";
import { prettyLine } from "./prettyLine.ts";
import { loggable, withoutSecrets } from "./secrets.ts";

/** Cloud loggings' names for pino's levels. */
const severities: Record<string, string> = {
  debug: "DEBUG",
  info: "INFO",
  warn: "WARNING",
  error: "ERROR",
  fatal: "CRITICAL",
};

/**
 * What JSON leaves as it is, and some reader of lines takes for an end of line, a command to the terminal (U+009B) or
 * an order to show text backwards.
 */
const treacherous = /(?!\n)[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}\p{Surrogate}\ufeff]/gu;

/** Most lines have nothing but these, and are spared the search. */
const harmless = /^[\x20-\x7e\n]*$/;

function safeLine(line: string): string {
  const text = withoutSecrets(line);
  return harmless.test(text) ? text : text.replace(treacherous, escapeOf);
}

function escapeOf(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/** Written at once: lines that are left to a thread can come after the process' last ones. */
function standardOutput(): DestinationStream {
  return pino.destination({ dest: 1, sync: true });
}

/**
 * A logger of one JSON object per line. JSON escapes control characters, so that nothing a caller sends can begin a
 * line of its own. Take a child with `module` before use. Without a destination it writes to standard output.
 */
export function createLogger(
  level: string,
  destination: DestinationStream = standardOutput(),
  { pretty = false } = {},
): Logger {
  return pino(
    {
      level,
      base: null,
      messageKey: "message",
      errorKey: "error",
      timestamp: () => `,"timestamp":"${new Date().toISOString()}"`,
      formatters: {
        level: (label) => ({ level: label, severity: severities[label] }),
        log: (fields) => loggable(fields) as Record<string, unknown>,
      },
      // Described by then; pino's own would take the description for an error of the type Object.
      serializers: { error: (described: unknown) => described },
      mixin: () => {
        const { requestId, traceId, tenantId, jobId } = currentContext();
        return {
          request_id: requestId,
          trace_id: trace.getActiveSpan()?.spanContext().traceId ?? traceId,
          tenant_id: tenantId,
          job_id: jobId,
        };
      },
      hooks: {
        streamWrite: (line) => (pretty ? prettyLine(safeLine(line)) : safeLine(line)),
        logMethod(args, method) {
          const [fields, message] = args;
          // Every line has a message, if an empty one; an error alone brings its own.
          if (
            typeof fields === "object" &&
            message === undefined &&
            !((fields as unknown) instanceof Error)
          ) {
            method.call(this, fields, "");
            return;
          }
          method.apply(this, args);
        },
      },
    },
    destination,
  );
}

/** The logger of a process: readable on a developer's terminal, JSON everywhere else. */
export function createProcessLogger(env: NodeJS.ProcessEnv): Logger {
  return createLogger("info", undefined, { pretty: isPretty(env) });
}

export function isPretty(env: NodeJS.ProcessEnv): boolean {
  return process.stdout.isTTY && env["ENVIRONMENT"]?.trim() === "development";
}
