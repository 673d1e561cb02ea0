import { createLogger } from "../../src/observability/logger.ts";

export const silentLogger = createLogger("silent");

/** A logger that keeps its lines. */
export function capturedLogger(level = "debug") {
  const lines: string[] = [];
  const logger = createLogger(level, { write: (line: string) => lines.push(line) });
  return { logger, lines, entries: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
}
