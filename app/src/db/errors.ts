import { invalid, Problem, Unavailable } from "../http/problem.ts";

/** The SQLSTATE, or the system's code; empty when there is none. */
export function codeOf(error: unknown): string {
  const { code } = (error instanceof Error ? error : {}) as { code?: unknown };
  return typeof code === "string" ? code : "";
}

const conflict = (detail: string) => (cause: unknown) => new Problem(409, { detail, cause });
const unusable = () =>
  invalid([{ field: "request", message: "holds a value that cannot be stored or compared" }]);
const tryAgain = (reason: string) => (cause: unknown) => new Unavailable(reason, cause);

/** SQLSTATEs that the request causes, or another try may mend. What is in no row is a fault of ours. */
const problems: Record<string, (error: unknown) => Problem> = {
  // Integrity: the values are well-formed and clash with what there is.
  "23505": conflict("there is one with these values already"),
  "23503": conflict("something that this refers to does not exist, or still refers to this"),
  "23514": unusable,
  // Values: too long, out of range, not of the type, not of the encoding.
  "22001": unusable,
  "22003": unusable,
  "22007": unusable,
  "22008": unusable,
  "22021": unusable,
  "22P02": unusable,
  "22P05": unusable,
  // An index row or a tsvector beyond its limit.
  "54000": (cause) => new Problem(413, { detail: "a value is too large to be indexed", cause }),
  "40001": tryAgain("transaction could not be serialised"),
  "40P01": tryAgain("deadlock"),
  "53100": tryAgain("Postgres has no disk space left"),
  "53200": tryAgain("Postgres has no memory left"),
  "55P03": tryAgain("a lock was not to be had"),
};

/** How an error of Postgres is answered; undefined when it is none that was foreseen. */
export function problemOf(error: unknown): Problem | undefined {
  return problems[codeOf(error)]?.(error);
}
