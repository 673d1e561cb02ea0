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

/** Label of every series of a stack whose figures are among others'. */
export const stackLabel = "stack";

/** What nodes tell of pods and volumes carries no label of ours: the stack's are those of its namespaces. */
const ofPods = /^(kubelet_volume|container)_/;
const itsNamespaces = 'namespace=~"app|data|edge|monitoring|node-agents"';
/** What they and their owners' Prometheus tell of themselves belongs to no stack. */
const ofNobody = /^(kubelet_running|machine|node|prometheus|alertmanager)_/;

/** The expression with every selector narrowed to the series of one stack, where they can be told apart. */
export function scoped(expression: string, stack: string): string {
  const insertions: { at: number; text: string }[] = [];
  parser.parse(expression).iterate({
    enter: ({ node, name }) => {
      if (name !== "VectorSelector") return;
      const metric = node.getChild("Identifier");
      const written = metric ? expression.slice(metric.from, metric.to) : "";
      if (ofNobody.test(written)) return;
      const matcher = ofPods.test(written) ? itsNamespaces : `${stackLabel}="${stack}"`;
      const matchers = node.getChild("LabelMatchers");
      if (matchers) insertions.push({ at: matchers.from + 1, text: `${matcher},` });
      else insertions.push({ at: node.to, text: `{${matcher}}` });
    },
  });
  return insertions
    .sort((a, b) => b.at - a.at)
    .reduce((text, { at, text: added }) => text.slice(0, at) + added + text.slice(at), expression);
}
