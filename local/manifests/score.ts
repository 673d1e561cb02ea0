/** kube-score's judgement of rendered objects; what it calls critical is mended, or explained in `explanations.ts`. */
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { z } from "zod";
import { explanations, type Explanation } from "./explanations.ts";

/** kube-score's grades: 1 critical, 5 warning, 7 almost good, 10 good. */
const critical = 1;

const reportShape = z.array(
  z.object({
    object_name: z.string(),
    checks: z
      .array(
        z.object({
          check: z.object({ id: z.string() }),
          grade: z.number(),
          skipped: z.boolean(),
          comments: z.array(z.object({ path: z.string(), summary: z.string() })).nullable(),
        }),
      )
      .nullable(),
  }),
);

export interface Finding {
  /** kube-score's name of the check. */
  readonly check: string;
  /** `Kind/namespace/name`, as far as the object has them. */
  readonly object: string;
  readonly summary: string;
  readonly critical: boolean;
}

/** Everything in kube-score's JSON report that is not good. */
export function findingsIn(report: string): Finding[] {
  return reportShape.parse(JSON.parse(report)).flatMap(({ object_name: name, checks }) =>
    (checks ?? [])
      .filter(({ grade, skipped }) => !skipped && grade <= 5)
      .map(({ check, grade, comments }) => ({
        check: check.id,
        object: shortName(name),
        summary: [...new Set((comments ?? []).map(({ summary }) => summary))].join(", "),
        critical: grade === critical,
      })),
  );
}

/** `Deployment/apps/v1/data/name` and `Service/v1/data/name` without the API's version. */
function shortName(name: string): string {
  const parts = name.split("/");
  const version = parts.findIndex((part) => /^v\d/.test(part));
  return [parts[0], ...parts.slice(version + 1)].join("/");
}

const explains = ({ check, objects }: Explanation, finding: Finding): boolean =>
  check === finding.check && (objects === "all" || objects.includes(finding.object));

export interface Weighed {
  /** Critical and not explained. */
  readonly open: readonly Finding[];
  /** Explanations of what kube-score no longer finds. */
  readonly stale: readonly string[];
}

export function weigh(findings: readonly Finding[], list: readonly Explanation[] = explanations): Weighed {
  const open = findings.filter(
    (finding) => finding.critical && !list.some((explanation) => explains(explanation, finding)),
  );
  const stale = list.flatMap(({ check, objects }) => {
    const found = findings.filter((finding) => finding.critical && finding.check === check);
    if (objects === "all") return found.length === 0 ? [check] : [];
    return objects
      .filter((object) => !found.some((finding) => finding.object === object))
      .map((object) => `${check} of ${object}`);
  });
  return { open, stale };
}

/** Runs kube-score; writes its report for people to `reportFile`. @throws when it gives no report. */
export async function score(
  program: string,
  files: readonly string[],
  reportFile: string,
): Promise<Finding[]> {
  const [json, human] = await Promise.all([
    reportOf(program, files, "json"),
    reportOf(program, files, "human"),
  ]);
  await writeFile(reportFile, human);
  return findingsIn(json);
}

/** Its exit status says that something is critical, which is for us to weigh. */
function reportOf(program: string, files: readonly string[], format: string): Promise<string> {
  const args = ["score", "--output-format", format, "--color", "never", ...files];
  return new Promise((resolve, reject) => {
    execFile(program, args, { maxBuffer: 64 << 20 }, (_error, stdout, stderr) => {
      if (stdout.trim() === "") reject(new Error(`kube-score gave no report: ${stderr}`));
      else resolve(stdout);
    });
  });
}
