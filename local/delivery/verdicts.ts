/** What each item of the release checklist asks, and what the answers mean. */
import { z } from "zod";
import { repository } from "../stack.ts";
import { findCommand, run } from "../system.ts";
import { auditFindings, type AuditResult } from "./checks.ts";
import { succeededAt } from "./evidence.ts";
import { ask, askAll } from "./judge.ts";
import type { Target } from "./target.ts";

/** `unknown`: it could not be asked, which is no consent. */
export type State = "passed" | "failed" | "unknown";

export interface Verdict {
  readonly state: State;
  /** What was seen. */
  readonly seen: string;
  /** What to do about it; with `passed`, nothing. */
  readonly then?: string;
}

const passed = (seen: string): Verdict => ({ state: "passed", seen });
const failed = (seen: string, then: string): Verdict => ({ state: "failed", seen, then });
const unknown = (seen: string, then: string): Verdict => ({ state: "unknown", seen, then });

const suites = { test: "make test", engine: "make test-engine", cluster: "make test-cluster" } as const;

/** Every suite passed here for exactly what is checked out, or GitHub's checks of this commit are green. */
export async function testsVerdict(tree: string | undefined, gitHub = checksOnGitHub): Promise<Verdict> {
  if (tree === undefined)
    return unknown("what is checked out is not what is committed", "commit it, then `make test`");
  const missing: string[] = [];
  for (const [kind, command] of Object.entries(suites))
    if ((await succeededAt(kind as keyof typeof suites, tree)) === undefined) missing.push(command);
  if (missing.length === 0) return passed("unit, app, engine and cluster tests passed for this commit");
  const seen = await gitHub();
  if (seen === "green") return passed("GitHub's checks of this commit are green");
  const then = `${missing.join(", ")}: here, for exactly this commit`;
  if (seen === "red") return failed("GitHub's checks of this commit are not green", then);
  return failed("not every test passed here for exactly this commit", then);
}

/** What GitHub says about the commit; undefined where it is not asked or knows nothing. */
async function checksOnGitHub(): Promise<"green" | "red" | undefined> {
  const gh = await findCommand("gh");
  if (gh === undefined) return undefined;
  const commit = (await run("git", ["rev-parse", "HEAD"], { cwd: repository })).trim();
  const query = ["api", `repos/{owner}/{repo}/commits/${commit}/check-runs`, "--jq", ".check_runs"];
  const text = await run(gh, query, { cwd: repository, env: process.env }).catch(() => undefined);
  if (text === undefined) return undefined;
  const shape = z.array(z.object({ conclusion: z.string().nullable() }));
  const conclusions = shape.parse(JSON.parse(text)).map(({ conclusion }) => conclusion);
  if (conclusions.length === 0) return undefined;
  return conclusions.every((one) => one === "success" || one === "skipped") ? "green" : "red";
}

/** `make audit`, now. */
export async function securityVerdict(
  audit: () => Promise<readonly AuditResult[]> = auditFindings,
): Promise<Verdict> {
  const results = await audit();
  const of = (state: AuditResult["state"]): string =>
    results
      .filter((result) => result.state === state)
      .map(({ what }) => what)
      .join(", ");
  if (of("found") !== "") return failed(`findings in ${of("found")}`, "`make audit` shows them");
  if (of("not asked") !== "")
    return unknown(`not asked: ${of("not asked")}`, "`make audit` where the package registry answers");
  return passed("nothing found in history, packages and licences");
}

/** As the alerts on them have it (k8s-manifests/prometheus/rules/platform.yaml), seconds. */
const newestBackupSeconds = 5400;
const newestVerificationSeconds = 93_600;

const sinceLast = (kind: string): string =>
  `time() - max(groundwork_backup_last_success_timestamp_seconds{kind=~"${kind}"})`;
const minutes = (seconds: number): string => `${Math.round(seconds / 60)} min`;

/** The exporter reads the store once a minute, when it is asked. */
const knownLater = "Prometheus learns of one within two minutes";

export async function backupVerdict(target: Target, stack: string): Promise<Verdict> {
  const then = `\`make backup STACK=${stack}\``;
  const age = await ask(target, sinceLast("hourly|daily|weekly"));
  if (age === undefined) return failed(`no backup is known; ${knownLater}`, then);
  if (age > newestBackupSeconds) return failed(`the newest backup is ${minutes(age)} old`, then);
  return passed(`the newest backup is ${minutes(age)} old`);
}

export async function recoveryVerdict(target: Target, stack: string): Promise<Verdict> {
  const then = `\`make restore-drill STACK=${stack}\``;
  const [age, verified] = await Promise.all([
    ask(target, sinceLast("verify")),
    ask(target, "min(groundwork_backup_last_verification_passed)"),
  ]);
  if (age === undefined || verified === undefined)
    return failed(`no backup was ever restored whole; ${knownLater}`, then);
  if (verified < 1) return failed("the last restore of a backup did not hold", then);
  if (age > newestVerificationSeconds) return failed(`the last restore was ${minutes(age)} ago`, then);
  return passed(`a backup was restored whole ${minutes(age)} ago`);
}

const kubeletShape = z.object({
  kubeletconfig: z.object({ containerLogMaxSize: z.string(), containerLogMaxFiles: z.number() }),
});
const largestLogMiB = 100;
const unitsMiB: Readonly<Record<string, number>> = { Ki: 1 / 1024, Mi: 1, Gi: 1024 };

/** Whether every node's kubelet bounds what a container may log. */
export async function logRotationVerdict({ kubectl }: Target): Promise<Verdict> {
  const names = await kubectl(["get", "nodes", "--output=jsonpath={.items[*].metadata.name}"]);
  const nodes = names.split(" ").filter((name) => name !== "");
  const unbounded: string[] = [];
  for (const node of nodes) {
    const { kubeletconfig } = kubeletShape.parse(
      JSON.parse(await kubectl(["get", "--raw", `/api/v1/nodes/${node}/proxy/configz`])),
    );
    const { containerLogMaxSize: size, containerLogMaxFiles: files } = kubeletconfig;
    const [, number = "", unit = ""] = /^(\d+)([KMG]i)$/.exec(size) ?? [];
    const mib = Number(number) * (unitsMiB[unit] ?? Number.POSITIVE_INFINITY);
    if (number === "" || mib > largestLogMiB || files < 2) unbounded.push(`${node}: ${files} × ${size}`);
  }
  if (nodes.length === 0) return unknown("the cluster shows no node", "look at `kubectl get nodes`");
  if (unbounded.length === 0)
    return passed(`${nodes.length} node(s) rotate containers' logs at ${largestLogMiB} MiB or less`);
  const then = `the kubelet's containerLogMaxSize (≤ ${largestLogMiB}Mi) and containerLogMaxFiles (≥ 2)`;
  return failed(unbounded.join(", "), then);
}

/** Whether what people look at has figures: every target answers, the Watchdog is there and no other alert. */
export async function dashboardsVerdict(target: Target, stack: string): Promise<Verdict> {
  const then =
    stack === "dev" ? "`make open`, then docs/runbooks/" : "Grafana, then the alert's page in docs/runbooks/";
  const firing = (await askAll(target, 'ALERTS{alertstate="firing"}')).map(
    ({ metric }) => metric["alertname"] ?? "",
  );
  if (!firing.includes("Watchdog")) return failed("the Watchdog does not fire: alerts do not work", then);
  const others = [...new Set(firing)].filter((name) => name !== "Watchdog");
  if (others.length > 0) return failed(`firing: ${others.join(", ")}`, then);
  const down = await askAll(target, "up == 0");
  if (down.length > 0)
    return failed(`not scraped: ${down.map(({ metric }) => metric["job"]).join(", ")}`, then);
  if ((await ask(target, 'sum(app_requests_total{job="app"})')) === undefined)
    return failed("the overview has no figures: no request was ever counted", then);
  const ready = ["--output=jsonpath={.status.readyReplicas}", "--ignore-not-found", "--namespace=monitoring"];
  const names = await target.kubectl(["get", "deployments", "--namespace=monitoring", "--output=name"]);
  const grafana = names.includes("deployment.apps/grafana");
  if (grafana && (await target.kubectl(["get", "deployment", "grafana", ...ready])).trim() === "")
    return failed("Grafana is not ready", then);
  return passed(
    `every target answers, and only the Watchdog fires${grafana ? "" : "; Grafana does not run here"}`,
  );
}
