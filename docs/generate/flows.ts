import type { Flow } from "../../components/networkPolicies.ts";

type AnyFlow = Flow<string>;

/** Mermaid diagrams of every allowed connection: what serves, and apart from it what looks on. */
export function flowDiagrams(flows: readonly AnyFlow[], workloads: Readonly<Record<string, string>>): string {
  const looksOn = ({ from }: AnyFlow): boolean => workloads[from] === "monitoring";
  return [
    "What serves, and what keeps the data:\n\n",
    diagram(
      flows.filter((flow) => !looksOn(flow)),
      workloads,
    ),
    "\nWhat looks on:\n\n",
    diagram(flows.filter(looksOn), workloads),
  ].join("");
}

function diagram(flows: readonly AnyFlow[], workloads: Readonly<Record<string, string>>): string {
  const ports = new Map<string, string[]>();
  for (const { from, to, port, protocol } of flows) {
    const key = `${from} ${to}`;
    ports.set(key, [...(ports.get(key) ?? []), protocol === "UDP" ? `${port}/udp` : String(port)]);
  }
  const names = new Set(flows.flatMap(({ from, to }) => [from, to]));
  const namespaces = new Set([...names].flatMap((name) => workloads[name] ?? []));
  const groups = [...namespaces].map((namespace) => {
    const members = [...names].filter((name) => workloads[name] === namespace);
    return `  subgraph ${namespace}-namespace [${namespace}]\n${members.map((name) => `    ${name}\n`).join("")}  end\n`;
  });
  const arrows = [...ports].map(([key, numbers]) => {
    const [from = "", to = ""] = key.split(" ");
    // The internet is two places: where clients come from, and where the stack goes.
    return `  ${from === "internet" ? "clients" : from} -->|${numbers.join(", ")}| ${to === "internet" ? "outside" : to}\n`;
  });
  return ["```mermaid\nflowchart LR\n", ...groups, ...arrows, "```\n"].join("");
}

const begin = "<!-- flows:begin, written by `make docs` -->\n";
const end = "<!-- flows:end -->";

/** The page with its generated part put in. */
export function withFlowDiagrams(page: string, diagrams: string): string {
  const [from, to] = [page.indexOf(begin), page.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`the page has no "${begin.trim()}" followed by "${end}"`);
  return `${page.slice(0, from)}${begin}\n${diagrams}\n${page.slice(to)}`;
}
