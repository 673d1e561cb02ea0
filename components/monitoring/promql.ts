import { parser } from "@prometheus-io/lezer-promql";

const strict = parser.configure({ strict: true });

/**
 * Lets through what is an expression in Prometheus' language.
 * @throws {Error} saying where the expression stands, and from where on it makes no sense.
 */
export function checkPromql(where: string, expression: string): void {
  try {
    strict.parse(expression);
  } catch (error) {
    const position = error instanceof Error ? Number(/\d+$/.exec(error.message)?.[0] ?? 0) : 0;
    const rest = expression.slice(position).trim();
    throw new Error(
      `${where}: ${JSON.stringify(expression)} is no PromQL expression; ` +
        (rest === "" ? "it ends too early" : `it cannot go on with ${JSON.stringify(rest.slice(0, 40))}`),
      { cause: error },
    );
  }
}
