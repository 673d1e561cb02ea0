/** What the workflows do with a stack whose state is kept elsewhere: bring it up, compare it, look at it from outside. */
import { setTimeout as sleep } from "node:timers/promises";
import { join } from "node:path";
import { hasDigest, ownImages } from "../../components/images.ts";
import { findCommand, message, run, say, tryRun, UserError } from "../system.ts";
import { policyArguments, repository, requireStack, wrapperDirectory } from "../stack.ts";
import { runVisibly } from "./checks.ts";
import { targetOf } from "./target.ts";
import { withWorkloadIdentity } from "./workloadIdentity.ts";

/** The stack's own Pulumi, signed in to its own backend; never this machine's private one. */
export async function pulumiProgram(stack: string): Promise<string> {
  await requireStack(stack);
  if (!process.env["PULUMI_BACKEND_URL"])
    throw new UserError(
      "PULUMI_BACKEND_URL is not set; it says where the stack's state is kept, such as azblob://state?storage_account=name",
    );
  const found = await findCommand("pulumi", wrapperDirectory());
  if (found === undefined) throw new UserError("`pulumi` is not on PATH: install it, then run this again.");
  return found;
}

/**
 * `make deploy STACK=…`: an `up` that the policy pack allows. It previews first, so that a violation changes nothing.
 * @param images - `name=reference` of images to run, with spaces between; they become part of the stack's configuration.
 */
export async function deploy(stack: string, images: string): Promise<number> {
  const settings = imageSettings(images);
  const pulumi = await pulumiProgram(stack);
  const args = ["up", "--yes", "--stack", stack, ...settings, ...(await policyArguments(stack))];
  return withWorkloadIdentity((env) => runVisibly(pulumi, args, env));
}

function imageSettings(images: string): string[] {
  const settings = images.split(" ").filter(Boolean);
  const wrong = settings.filter((setting) => {
    const [name = "", reference = ""] = setting.split("=");
    return !(name in ownImages) || !hasDigest(reference);
  });
  if (wrong.length > 0)
    throw new UserError(
      `IMAGES has "${wrong.join(" ")}" and may have ${Object.keys(ownImages).join(", ")}, each as name=registry/name@sha256:…`,
    );
  return settings.length === 0
    ? []
    : ["--config-path", ...settings.flatMap((setting) => ["--config", `groundwork:images.${setting}`])];
}

/** `make drift STACK=…`: fails when what runs is not what the program says. */
export async function drift(stack: string): Promise<number> {
  const pulumi = await pulumiProgram(stack);
  const args = ["preview", "--refresh", "--expect-no-changes", "--diff", "--stack", stack];
  return withWorkloadIdentity((env) => runVisibly(pulumi, args, env));
}

const smokePaths = ["/health", "/api/health", "/ready"];
const smokeAttempts = 6;
const smokePauseSeconds = 5;

/** `make smoke URL=…`: by the public name, with a certificate that this machine trusts; each must answer 200. */
export async function smoke(url: string): Promise<number> {
  if (!/^https:\/\/[^/]+$/.test(url))
    throw new UserError(`URL is "${url}" and may be a base URL such as https://api.example.com`);
  for (const path of smokePaths) {
    const answer = await firstGood(`${url}${path}`);
    say(`${path}: ${answer}`);
    if (answer !== "200") return 1;
  }
  return 0;
}

async function firstGood(url: string): Promise<string> {
  let answer = "";
  for (let attempt = 1; attempt <= smokeAttempts; attempt += 1) {
    answer = await fetch(url, { signal: AbortSignal.timeout(10_000), redirect: "error" })
      .then(({ status }) => String(status))
      .catch((error: unknown) => message(error instanceof Error && error.cause ? error.cause : error));
    if (answer === "200") break;
    await sleep(smokePauseSeconds * 1000);
  }
  return answer;
}

/** `make restore-drill STACK=…`: the newest daily or weekly dump is restored and compared now, as every day by itself. */
export async function restoreDrill(stack: string): Promise<number> {
  const good = await runNow(stack, "backup-verify");
  say(`restore drill: ${good ? "the newest daily or weekly dump was restored and holds" : "failed"}`);
  return good ? 0 : 1;
}

const backupKinds = ["hourly", "base"];

/** `make backup STACK=…`: a dump now, as every hour by itself, or with `base` a copy of the server's files. */
export async function backup(stack: string, kind: string): Promise<number> {
  if (!backupKinds.includes(kind))
    throw new UserError(`KIND is "${kind}" and may be ${backupKinds.join(" or ")}`);
  const good = await runNow(stack, `backup-${kind}`);
  say(`backup: ${good ? "taken" : "failed"}`);
  return good ? 0 : 1;
}

/** Runs a CronJob of the data namespace once and shows its last lines; gives whether it succeeded. */
async function runNow(stack: string, cronJob: string): Promise<boolean> {
  const { kubectl } = await targetOf(stack);
  const job = `${cronJob}-${Date.now()}`;
  const inData = (...args: string[]): Promise<string> => kubectl(["--namespace", "data", ...args]);
  await inData("create", "job", job, `--from=cronjob/${cronJob}`);
  try {
    for (;;) {
      await sleep(3000);
      const state = await inData("get", "job", job, "--output=jsonpath={.status.conditions[*].type}");
      if (!/Complete|Failed/.test(state)) continue;
      say(await inData("logs", `job/${job}`, "--tail=5"));
      return !state.includes("Failed");
    }
  } finally {
    await inData("delete", "job", job, "--ignore-not-found", "--wait=false");
  }
}

/** Docker's own builder attaches no bills of materials unless it keeps images as containerd does, which not every Docker does. */
const builder = "groundwork";

/** `make push-images REGISTRY=…`: builds the three images with their bills of materials, and prints their digests. */
export async function pushImages(registry: string): Promise<void> {
  if (!/^[a-z0-9.-]+(:\d+)?(\/[a-z0-9._/-]+)?$/.test(registry))
    throw new UserError(`REGISTRY is "${registry}" and may be a name such as example.azurecr.io/groundwork`);
  if ((await tryRun("docker", ["buildx", "inspect", builder])) === undefined)
    await run("docker", ["buildx", "create", "--name", builder, "--driver", "docker-container"]);
  const commit = (await run("git", ["rev-parse", "HEAD"], { cwd: repository })).trim();
  for (const [name, directory] of Object.entries(ownImages)) {
    const reference = `${registry}/${name}:${commit}`;
    const attested = ["--sbom=true", "--provenance=mode=max"];
    const args = ["buildx", "build", "--builder", builder, "--push", ...attested, "--tag", reference];
    const code = await runVisibly("docker", [...args, join(repository, directory)]);
    if (code !== 0) throw new UserError(`${name} could not be built and pushed; Docker says why above.`);
    const format = ["--format", "{{.Manifest.Digest}}"];
    const digest = await run("docker", ["buildx", "imagetools", "inspect", reference, ...format]);
    process.stdout.write(`${name}=${registry}/${name}@${digest.trim()}\n`);
  }
}
