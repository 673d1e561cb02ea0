/** `make emergency LEVEL=1|2|3`: the procedures of docs/emergency.md, each in one command. */
import { setTimeout as sleep } from "node:timers/promises";
import { askInApp } from "../askInApp.ts";
import { redisCli } from "../redisCli.ts";
import { lastLines, message, say, UserError } from "../system.ts";
import { ask, p95Of } from "./judge.ts";
import { rollbackCommand } from "./rollback.ts";
import { targetOf, type Target } from "./target.ts";
import { candidatePercent } from "./traffic.ts";

const asApp = redisCli("app");
/** A pod that users are on, for kubectl: one that is ready before one that is not. In a release, one of the version that gets them last. */
const usersPod = "service/app-share-50";
const inUsersPod = ["exec", usersPod, "--pod-running-timeout=5s", "--"];

/** Level 1, the service is degraded: what can be seen, then everything that is safe to try. */
export async function degraded(target: Target): Promise<void> {
  await showFigures(target);
  const inApp = ["--namespace", "app"];
  const logs = target.kubectl([...inApp, "logs", usersPod, "--tail=100"]);
  process.stdout.write(await logs.catch((error: unknown) => `${message(error)}\n`));
  const inRedis = (pod: string, script: string): Promise<string> =>
    target.kubectl(["--namespace", "data", "exec", pod, "--container=redis", "--", "/bin/sh", "-c", script]);
  // Whatever does not answer may be what is wrong, or runs elsewhere: the rest is done all the same.
  const tried = (what: string, work: () => Promise<string>): Promise<void> =>
    work().then(
      (found) => {
        say(`${what}: ${found.trim()}`);
      },
      (error: unknown) => {
        say(`${what}: not done: ${message(error).split("\n")[0] ?? ""}`);
      },
    );
  for (const pod of ["redis-queue-0", "redis-cache-0"])
    await tried(pod, () => inRedis(pod, `${asApp} ping 2>&1; true`));
  // UNLINK key by key: the app's user may not FLUSHALL, and nobody else has a password.
  const clear = `${asApp} --scan | xargs -r -n 100 sh -c '${asApp.replaceAll("'", "'\\''")} unlink "$@" >/dev/null' sh; ${asApp} dbsize`;
  await tried("cache: keys left", () => inRedis("redis-cache-0", clear));
  await tried("sessions: refresh tokens past their time deleted", () => dropStaleSessions(target));
  const slot = (await candidatePercent(target)) > 0 ? ["app", "app-candidate"] : ["app"];
  for (const deployment of slot) {
    await target.kubectl([...inApp, "rollout", "restart", `deployment/${deployment}`]);
    await target.kubectl([...inApp, "rollout", "status", `deployment/${deployment}`, "--timeout=180s"]);
  }
  say("app: restarted, pod by pod");
  await confirmHealth(target);
}

async function showFigures(target: Target): Promise<void> {
  const figures = {
    "requests per second, five minutes": "sum(rate(app_requests_total[5m]))",
    "share of server errors": "app:request_errors:ratio_rate5m",
    "95th percentile, seconds": p95Of("app", 300),
    "alerts that fire": 'count(ALERTS{alertstate="firing",alertname!="Watchdog"}) or vector(0)',
  };
  for (const [what, expression] of Object.entries(figures)) {
    // Prometheus may be part of what is wrong.
    const value = await ask(target, expression).catch(() => undefined);
    say(`${what}: ${value === undefined ? "unknown" : Number(value.toPrecision(3))}`);
  }
}

async function dropStaleSessions({ kubectl }: Target): Promise<string> {
  const sql =
    "with gone as (delete from refresh_tokens where expires_at < now() returning 1) select count(*) from gone";
  const psql = ["psql", "-XAtq", "-h", "/run/patroni", "-U", "postgres", "-d", "app", "-c", sql];
  const leader = (
    await kubectl([
      "--namespace",
      "data",
      "get",
      "endpoints",
      "postgres",
      "--output=jsonpath={.metadata.annotations.leader}",
    ])
  ).trim();
  return (
    await kubectl(["--namespace", "data", "exec", leader, "--container=patroni", "--", ...psql])
  ).trim();
}

const usualNotice =
  "Some functions are limited at the moment: answers are simple ones, and sign-in is by name and password.";

/** Level 2, a function is down: the service goes on without it and tells its users so. `off` is the way back. */
export async function withoutFunction(target: Target, off: boolean, notice = usualNotice): Promise<void> {
  const data = off
    ? { "sign-in": "off", "ai-mode": "normal", notice: "" }
    : { "sign-in": "on", "ai-mode": "stub", notice };
  const inApp = ["--namespace", "app"];
  const patch = JSON.stringify({ data });
  await target.kubectl([
    ...inApp,
    "patch",
    "configmap",
    "app-switches",
    "--type=merge",
    `--patch=${patch}`,
    "--field-manager=groundwork-release",
  ]);
  // A changed pod is looked at by its kubelet at once, which then brings its files up to date; otherwise in a minute or so.
  const pods = "--selector=app.kubernetes.io/name in (app,app-candidate)";
  await target.kubectl([
    ...inApp,
    "annotate",
    "pods",
    pods,
    "--overwrite",
    `groundwork/switched=${Date.now()}`,
  ]);
  await waitForSwitch(target, data["ai-mode"]);
  say(`fallback sign-in: ${data["sign-in"]}; answers: ${data["ai-mode"]}; notice: ${data.notice || "none"}`);
}

const switchLimitSeconds = 30;

async function waitForSwitch({ kubectl }: Target, mode: string): Promise<void> {
  const deadline = Date.now() + switchLimitSeconds * 1000;
  const read = [...inUsersPod, "cat", "/etc/groundwork/switches/ai-mode"];
  while ((await kubectl(["--namespace", "app", ...read])).trim() !== mode) {
    if (Date.now() > deadline)
      throw new UserError(
        `The app has not seen the switch after ${switchLimitSeconds} s; look again in a minute`,
      );
    await sleep(500);
  }
}

/** Level 3, all is down: all users to the version before, confirmed by one of its pods. */
export async function allDown(target: Target, stack: string): Promise<void> {
  await rollbackCommand(stack);
  await confirmHealth(target);
}

/** A pod that is just being replaced may be the one that is asked first. */
const healthAttempts = 3;

/**
 * What a pod that users are on says of itself: no network policy lets anybody but the edge and the prober ask it from outside.
 * @throws {UserError} when it is not healthy, or says nothing for five seconds, three times.
 */
export async function confirmHealth({ kubectl }: Target): Promise<void> {
  const script = `${askInApp}
const said = (text) => { console.log(text); process.exit(); };
setTimeout(said, 5000, "no answer after 5 s");
ask("/health").then(({ status }) => said(status), (error) => said(error.message));`;
  const asked = ["--namespace", "app", ...inUsersPod, "node", "--eval", script];
  for (let attempt = 1; attempt <= healthAttempts; attempt += 1) {
    const answer = (await kubectl(asked).catch((error: unknown) => lastLines(message(error), 1))).trim();
    say(`/api/health: ${answer}`);
    if (answer === "200") return;
    await sleep(1000);
  }
  throw new UserError(`The app is not healthy: kubectl --namespace app logs ${usersPod} --tail=100`);
}

const levels: Readonly<Record<string, (target: Target, stack: string) => Promise<void>>> = {
  "1": degraded,
  "2": (target) => withoutFunction(target, process.env["OFF"] === "1", process.env["NOTICE"]),
  "3": allDown,
};

export async function emergency(stack: string, level: string): Promise<void> {
  const procedure = levels[level];
  if (!procedure)
    throw new UserError(
      `LEVEL is "${level}" and may be 1 (degraded), 2 (a function is down) or 3 (all is down): docs/emergency.md`,
    );
  const started = Date.now();
  await procedure(await targetOf(stack), stack);
  say(`emergency level ${level}: done after ${((Date.now() - started) / 1000).toFixed(1)} s`);
}
