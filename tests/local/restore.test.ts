/** A restore that is cut off at its worst moments; the cluster is a stand-in for kubectl. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { withLock } from "../../local/lock.ts";
import { restore } from "../../local/restore.ts";
import { makePlan, sourceOf } from "../../local/restorePlan.ts";

/**
 * `databases` has the server's, `calls` what was asked for, `slot` whose the users are; `restoring` while the Job is to go on, `switch`
 * how its answer is lost, `unready` while the app is, `blip` when the next look at a Job fails; `made` has the Jobs; `cut` at what a terminal's Ctrl-C ends kubectl, once. No Job is gone at once.
 */
const kubectl = `#!/bin/sh
cd "$(dirname "$0")"
shift 4
echo "$*" >>calls
if test -e cut && echo "$*" | grep -q -e "$(cat cut)"; then
  mv cut cutting
  until test -e interrupted; do sleep 0.05; done
  exit 130
fi
case "$*" in
  *"get services"*)
    echo '{"items":[{"metadata":{"name":"app-share-10"},"spec":{"selector":{"app.kubernetes.io/name":"'"$(cat slot)"'"}}}]}' ;;
  *"get endpoints"*) printf postgres-0 ;;
  *" df "*) echo 999999999999 999999999999 ;;
  *pg_database_size*) sed 's/$/|1000|t/' databases ;;
  *database.sql) echo "$*" | sed 's/.*database=\\([a-z0-9_]*\\).*/\\1/' >>databases ;;
  *"drop database"*) grep -v app_restored_ databases >kept; mv kept databases ;;
  *rename*) test "$(cat switch)" = refused || { echo app; echo "$*" | grep -o 'app_before_[0-9]*' | head -1; } >databases
    test -z "$(cat switch)" ;;
  *"get --namespace=data cronjob/"*)
    echo '{"spec":{"jobTemplate":{"spec":{"template":{"metadata":{"labels":{}},"spec":{"containers":[]}}}}}}' ;;
  create*) manifest=$(cat); echo "$manifest" >>made
    name=$(echo "$manifest" | grep -o '"name":"[^"]*"' | head -1)
    if grep -qs "$name" jobs; then echo already exists >&2; exit 1; fi
    echo "$name" >>jobs ;;
  "get pods"*redis-queue*) printf redis-queue-0 ;;
  "get jobs"*) printf app-migrate-1 ;;
  "get deployments"*) printf 'app worker' ;;
  "get --namespace=app job.batch/"*)
    echo '{"spec":{"template":{"metadata":{"labels":{}},"spec":{"containers":[]}}}}' ;;
  "get --namespace=app job.batch "*) printf Complete ;;
  "exec --namespace=app"*) test ! -e unready ;;
  *job.batch" restore-plan"*) printf Complete ;;
  *"get --namespace=data job.batch"*) ! mv blip blipped 2>/dev/null || exit 1; test -e restoring || printf Complete ;;
  logs*) echo '{"backup":"hourly/20260101T000700Z","verified":true,"dumpBytes":1,"databaseBytes":1,"takenAt":"2026-01-01T00:00:00Z","tables":1,"rows":1}' ;;
esac
`;
const job = z.object({ metadata: z.object({ labels: z.record(z.string(), z.string()) }) });
let directory: string;
const read = (name: string): Promise<string> => readFile(join(directory, name), "utf8");
const calls = async (): Promise<string> => read("calls").catch(() => "");

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "groundwork-restore-"));
  vi.stubEnv("GROUNDWORK_CACHE", join(directory, "cache"));
  vi.stubEnv("PATH", `${directory}:/usr/bin:/bin`);
  vi.spyOn(process.stderr, "write").mockReturnValue(true);
  await writeFile(join(directory, "kubectl"), kubectl, { mode: 0o755 });
  await writeFile(join(directory, "databases"), "app\n");
  await writeFile(join(directory, "slot"), "app");
  await writeFile(join(directory, "switch"), "");
  await mkdir(join(directory, "cache"));
  await writeFile(
    join(directory, "cache/cluster.json"),
    JSON.stringify({ kind: "kind", kubeconfig: "none", context: "none" }),
  );
});
afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  await rm(directory, { recursive: true });
});

test("what carries out the plan of a moment begins with the base backup that was looked at", async () => {
  const moment = "2026-01-01T01:00:00.000Z";
  const cluster = {
    kind: "kind",
    kubeconfig: "none",
    context: "none",
    loopbackSources: [],
    apiServerCidrs: [],
  } as const;
  const plan = await makePlan(cluster, sourceOf({ from: "", toTime: moment }, new Date()), "1");
  const backup = "hourly/20260101T000700Z";
  expect(plan).toMatchObject({
    variable: `FROM=${backup} TO_TIME=${moment}`,
    env: { FROM: backup, MOMENT: moment },
  });
});

const request = { from: "latest", toTime: "", confirmed: true, stack: "dev" };

test("a restore that is interrupted opens the old database again, and takes back what it began", async () => {
  await writeFile(join(directory, "restoring"), "");
  const running = expect(restore(request)).rejects.toThrow(
    "it was interrupted (SIGINT)\nThe service goes on with the data that it had.",
  );
  await expect.poll(calls, { timeout: 10_000 }).toMatch(/get --namespace=data job\.batch restore-2/);
  process.emit("SIGINT", "SIGINT");
  await running;
  const [, since = ""] = (await calls()).split("allow_connections false");
  expect(since).toMatch(
    /delete --namespace=data job\.batch restore-2[^]*allow_connections true[^]*drop database/,
  );
  expect(await read("databases")).toBe("app\n");
});

test("a restore goes on where the API server was away for one look at its Job", async () => {
  const running = restore(request);
  await expect.poll(calls, { timeout: 10_000 }).toContain("restore-plan");
  await writeFile(join(directory, "blip"), "");
  const { aside } = await running;
  expect(await read("blipped")).toBe("");
  expect(await read("databases")).toBe(`app\n${aside}\n`);
});

test("its Jobs have labels of their own, and so are never taken for the stack's", async () => {
  await restore(request);
  const made = (await read("made"))
    .trim()
    .split("\n")
    .map((line) => job.parse(JSON.parse(line)));
  expect(made.length).toBeGreaterThan(2);
  for (const { metadata } of made) {
    expect(Object.keys(metadata.labels).length).toBeGreaterThan(0);
    expect(metadata.labels).not.toHaveProperty("app.kubernetes.io/name");
  }
});

test("a switch whose answer is lost is found to be done, and the restore goes on to its end", async () => {
  await writeFile(join(directory, "switch"), "lost");
  const { aside } = await restore(request);
  expect(await read("databases")).toBe(`app\n${aside}\n`);
  const since = (await calls()).split("rename").at(-1);
  expect(since).toContain("exec --namespace=app deploy/app");
  expect(since).not.toContain("drop database");
});

test("a switch that is refused leaves the old database in service", async () => {
  await writeFile(join(directory, "switch"), "refused");
  await expect(restore(request)).rejects.toThrow("The service goes on with the data that it had.");
  expect(await read("databases")).toBe("app\n");
});

test.each([true, false])(
  "while users are on a release: is refused before anything is touched, CONFIRM=%s",
  async (confirmed) => {
    await writeFile(join(directory, "slot"), "app-candidate");
    await expect(restore({ ...request, confirmed })).rejects.toThrow(
      /10 % of the users[^]*`make release-close`, or `make rollback`[^]*Nothing was changed\./,
    );
    expect(await calls()).toMatch(/^--namespace app get services [^\n]+\n$/);
  },
);

test("lets no release begin until it has ended, nor begins in one", async () => {
  await expect(withLock("release", () => restore(request))).rejects.toThrow('the "release" lock');
  expect(await calls()).toBe("");
  await writeFile(join(directory, "restoring"), "");
  const running = expect(restore(request)).rejects.toThrow("it was interrupted");
  await expect.poll(calls, { timeout: 10_000 }).toMatch(/get --namespace=data job\.batch restore-2/);
  await expect(withLock("release", () => Promise.resolve())).rejects.toThrow('the "release" lock');
  process.emit("SIGINT", "SIGINT");
  await running;
});

describe("after the switch", () => {
  const asksApp = /^exec --namespace=app deploy\/app/gm;

  test.each(["empty.sh", "job.batch app-migrate-restore", "delete pods", "exec --namespace=app"])(
    "a restore that is interrupted goes on to its end: at %s",
    async (moment) => {
      await writeFile(join(directory, "cut"), moment);
      const running = restore(request);
      await expect.poll(() => read("cutting").catch(() => ""), { timeout: 10_000 }).toBe(moment);
      process.emit("SIGINT", "SIGINT");
      await writeFile(join(directory, "interrupted"), "");
      const { aside } = await running;
      expect(await read("databases")).toBe(`app\n${aside}\n`);
      const cut = moment === "exec --namespace=app" ? 2 : 1;
      expect((await calls()).match(asksApp)).toHaveLength(cut);
      expect(await calls()).toMatch(
        /rename[^]*redis-queue-0 .*empty\.sh[^]*job\.batch app-migrate-restore[^]*delete pods[^]*deployment\/worker[^]*deploy\/app/,
      );
    },
  );

  test("what fails says which database serves, and how to come to the end", async () => {
    await writeFile(join(directory, "unready"), "");
    await expect(restore(request)).rejects.toThrow(
      /restored database is in service as app[^]*anew: make restore FROM=hourly\/20260101T000700Z CONFIRM=yes\n/,
    );
    expect((await calls()).match(asksApp)).toHaveLength(1);
    await rm(join(directory, "unready"));
    // Names end with the second that they were made in.
    await sleep(1000);
    const { aside } = await restore({ ...request, from: "hourly/20260101T000700Z" });
    expect(await read("databases")).toBe(`app\n${aside}\n`);
  });
});
