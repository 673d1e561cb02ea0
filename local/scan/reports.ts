/** What the scanners' own reports say, as findings. */
import { z } from "zod";

const wapitiFinding = z.object({
  method: z.string(),
  path: z.string(),
  info: z.string(),
  level: z.number(),
  parameter: z.string().nullish(),
});
const wapitiReport = z.object({
  vulnerabilities: z.record(z.string(), z.array(wapitiFinding)),
  anomalies: z.record(z.string(), z.array(wapitiFinding)),
  infos: z.object({ crawled_pages_nbr: z.number() }),
});

/** Of wapiti's levels: 1 low, 2 medium, 3 high, 4 critical. */
const highLevel = 3;

export interface Judged {
  /** High ones, and every server error that was provoked. */
  readonly high: readonly string[];
  readonly lower: readonly string[];
  /** What was tried: operations, or pages. */
  readonly tried: number;
}

/** Of wapiti's JSON. @throws when it is none. */
export function judgeWapiti(text: string): Judged {
  const report = wapitiReport.parse(JSON.parse(text));
  const told = (kinds: z.infer<typeof wapitiReport>["vulnerabilities"]) =>
    Object.entries(kinds).flatMap(([kind, found]) =>
      found.map(({ method, path, info, level, parameter }) => ({
        level,
        line: `wapiti: ${kind}: ${method} ${path}${parameter ? ` (${parameter})` : ""}: ${info}`,
      })),
    );
  const weaknesses = told(report.vulnerabilities);
  return {
    high: [
      ...weaknesses.filter(({ level }) => level >= highLevel),
      ...told(report.anomalies).filter(({ line }) => line.startsWith("wapiti: Internal Server Error")),
    ].map(({ line }) => line),
    lower: weaknesses.filter(({ level }) => level < highLevel).map(({ line }) => line),
    tried: report.infos.crawled_pages_nbr,
  };
}

/** Of sqlmap's table, whose rows are injections, and of its log. */
export function judgeSqlmap(table: string, log: string): Judged {
  const rows = table
    .trim()
    .split("\n")
    .slice(1)
    .filter((row) => row !== "");
  return {
    high: rows.map((row) => `sqlmap: SQL injection: ${row}`),
    lower: [],
    tried: log.split("testing if the target URL content is stable").length - 1,
  };
}
