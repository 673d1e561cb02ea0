/** `make check` and `make check-manifests`: the objects of every stack, judged without and with an API server. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { currentCluster, kubectlProgram } from "../cluster.ts";
import { repository } from "../stack.ts";
import { say } from "../system.ts";
import { tool } from "../tool.ts";
import { judge, type Kubectl } from "./dryRun.ts";
import { rendered, stacks } from "./rendered.ts";
import { score, weigh, type Finding } from "./score.ts";

/** kube-score's report of every stack; 1 when something critical is not explained, or an explanation is stale. */
export async function scoreManifests(): Promise<number> {
  const program = await tool("kube-score");
  const findings: Finding[] = [];
  for (const stack of stacks) {
    const { files } = await rendered(stack);
    const report = join(".render", "check", `${stack}.score.txt`);
    const of = await score(program, files, join(repository, report));
    const criticals = of.filter(({ critical }) => critical).length;
    say(
      `${stack}: ${files.length} objects, ${criticals} critical and ${of.length - criticals} other findings: ${report}`,
    );
    findings.push(...of);
  }
  const { open, stale } = weigh(findings);
  for (const { check, object, summary } of open) say(`not explained: ${object}: ${check} (${summary})`);
  for (const what of stale) say(`explained and not found any more: ${what}`);
  const good = open.length === 0 && stale.length === 0;
  say(
    `manifests: ${good ? "ok, every critical finding is explained" : "mend them, or see local/manifests/explanations.ts"}`,
  );
  return good ? 0 : 1;
}

/** kubectl against one cluster; everything that it prints, and whether it failed. */
export async function kubectlFor(place: { kubeconfig: string; context: string }): Promise<Kubectl> {
  const program = await kubectlProgram();
  const cluster = ["--kubeconfig", place.kubeconfig, "--context", place.context];
  return (args, input) =>
    new Promise((resolve) => {
      const options = { maxBuffer: 64 << 20 };
      const child = execFile(program, [...cluster, ...args], options, (error, stdout, stderr) => {
        resolve({ failed: error !== null, text: stdout + stderr });
      });
      child.stdin?.on("error", () => undefined);
      child.stdin?.end(input ?? "");
    });
}

/** `make check-manifests`: by the API server of the cluster that `make up` chose. */
export async function checkManifests(): Promise<number> {
  const kubectl = await kubectlFor(await currentCluster());
  let found = 0;
  for (const stack of stacks) {
    const { asked, problems, unknownKinds } = await judge((await rendered(stack)).objects, kubectl);
    for (const problem of problems) say(`${stack}: ${problem}`);
    const unknown = unknownKinds.length === 0 ? "" : `; not known here: ${unknownKinds.join(", ")}`;
    say(`${stack}: ${asked} objects asked, ${problems.length} problems${unknown}`);
    found += problems.length;
  }
  return found === 0 ? 0 : 1;
}
