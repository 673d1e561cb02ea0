import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { items, requireChecks, standingAgainst, walk, type Checks } from "../../local/delivery/checklist.ts";
import type { AuditResult } from "../../local/delivery/checks.ts";
import { checkedOut, recordSuccess, succeededAt } from "../../local/delivery/evidence.ts";
import { overrides, type Override } from "../../local/delivery/overrides.ts";
import type { Target } from "../../local/delivery/target.ts";
import {
  backupVerdict,
  dashboardsVerdict,
  logRotationVerdict,
  recoveryVerdict,
  securityVerdict,
  testsVerdict,
} from "../../local/delivery/verdicts.ts";

/** A cluster whose Prometheus answers by the first pattern that an expression matches; other questions by theirs. */
function cluster(answers: readonly (readonly [RegExp, string])[]): Target {
  return {
    kubectl: (args) => {
      const question = decodeURIComponent(args.join(" "));
      if (question.includes("existing-prometheus")) return Promise.resolve("");
      const [, answer] = answers.find(([pattern]) => pattern.test(question)) ?? [];
      return answer === undefined
        ? Promise.reject(new Error(`nobody answers ${question}`))
        : Promise.resolve(answer);
    },
  };
}
const series = (...metrics: readonly (readonly [Record<string, string>, number])[]): string =>
  JSON.stringify(metrics.map(([metric, value]) => ({ metric, value: [0, String(value)] })));
const figure = (value: number): string => series([{}, value]);

describe("an item of the checklist", () => {
  test("asks for a backup of the last hour and a half", async () => {
    const aged = (seconds: number) => backupVerdict(cluster([[/kind=~"hourly/, figure(seconds)]]), "prod");
    expect(await aged(5400)).toMatchObject({ state: "passed" });
    expect(await aged(5401)).toMatchObject({ state: "failed", then: "`make backup STACK=prod`" });
    expect(await backupVerdict(cluster([[/./, series()]]), "prod")).toMatchObject({ state: "failed" });
  });

  test("asks for a restore of the last day that held", async () => {
    const of = (age: string, verified: string) =>
      recoveryVerdict(
        cluster([
          [/kind=~"verify/, age],
          [/verification_passed/, verified],
        ]),
        "prod",
      );
    expect(await of(figure(3600), figure(1))).toMatchObject({ state: "passed" });
    expect(await of(figure(3600), figure(0))).toMatchObject({
      state: "failed",
      seen: "the last restore of a backup did not hold",
    });
    expect(await of(figure(93_601), figure(1))).toMatchObject({ state: "failed" });
    expect(await of(series(), series())).toMatchObject({
      state: "failed",
      then: "`make restore-drill STACK=prod`",
    });
  });

  test("asks every node's kubelet to bound the logs of containers", async () => {
    const node = (size: string, files: number) =>
      JSON.stringify({ kubeletconfig: { containerLogMaxSize: size, containerLogMaxFiles: files } });
    const of = (second: string) =>
      logRotationVerdict(
        cluster([
          [/get nodes/, "one two"],
          [/nodes\/one\/proxy/, node("10Mi", 5)],
          [/nodes\/two\/proxy/, second],
        ]),
      );
    expect(await of(node("100Mi", 2))).toMatchObject({ state: "passed" });
    expect(await of(node("1Gi", 2))).toMatchObject({ state: "failed", seen: "two: 2 × 1Gi" });
    expect(await of(node("10Mi", 1))).toMatchObject({ state: "failed" });
    expect(await of(node("unlimited", 5))).toMatchObject({ state: "failed" });
  });

  test("asks for figures, and that only the Watchdog fires", async () => {
    const watchdog = [{ alertname: "Watchdog" }, 1] as const;
    const of = (alerts: string, down = series(), requests = figure(7), grafana = "") =>
      dashboardsVerdict(
        cluster([
          [/ALERTS/, alerts],
          [/up == 0/, down],
          [/app_requests_total/, requests],
          [/--output=name/, grafana === "" ? "deployment.apps/blackbox" : "deployment.apps/grafana"],
          [/readyReplicas/, grafana],
        ]),
        "prod",
      );
    expect(await of(series(watchdog))).toMatchObject({ state: "passed" });
    expect(await of(series(watchdog), undefined, undefined, " ")).toMatchObject({
      seen: "Grafana is not ready",
    });
    expect(await of(series())).toMatchObject({ seen: "the Watchdog does not fire: alerts do not work" });
    expect(await of(series(watchdog, [{ alertname: "RedisDown" }, 1]))).toMatchObject({
      seen: "firing: RedisDown",
    });
    expect(await of(series(watchdog), series([{ job: "edge" }, 0]))).toMatchObject({
      seen: "not scraped: edge",
    });
    expect(await of(series(watchdog), series(), series())).toMatchObject({ state: "failed" });
  });

  test("tells what was found from what could not be asked", async () => {
    const of = (...states: AuditResult["state"][]) =>
      securityVerdict(() =>
        Promise.resolve(states.map((state, index) => ({ what: `${index}`, state, detail: "" }))),
      );
    expect(await of("clean", "clean")).toMatchObject({ state: "passed" });
    expect(await of("clean", "not asked")).toMatchObject({ state: "unknown", seen: "not asked: 1" });
    expect(await of("not asked", "found")).toMatchObject({ state: "failed", seen: "findings in 1" });
  });
});

describe("the tests of a release", () => {
  const cache = mkdtempSync(join(tmpdir(), "groundwork-evidence-"));
  const repository = mkdtempSync(join(tmpdir(), "groundwork-checkout-"));
  const git = (...args: string[]) => execFileSync("git", ["-C", repository, ...args], { encoding: "utf8" });
  beforeEach(() => {
    vi.stubEnv("GROUNDWORK_CACHE", cache);
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    rmSync(cache, { recursive: true, force: true });
  });
  const nobody = () => Promise.resolve(undefined);

  test("count for exactly what is committed", async () => {
    git("init", "--quiet");
    const commit = () => {
      git("add", ".");
      git("-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "--message=x");
    };
    writeFileSync(join(repository, "a"), "1");
    expect(await checkedOut(repository)).toBeUndefined();
    commit();
    const first = await checkedOut(repository);
    expect(first).toMatch(/^[0-9a-f]{40}$/);
    writeFileSync(join(repository, "a"), "2");
    expect(await checkedOut(repository)).toBeUndefined();
    commit();
    expect(await checkedOut(repository)).not.toBe(first);
    rmSync(repository, { recursive: true });
  });

  test("are not remembered when the checkout is another by their end", async () => {
    await recordSuccess("test", "0".repeat(40));
    expect(await succeededAt("test", "0".repeat(40))).toBeUndefined();
  });

  test("must all have passed, here or at GitHub", async () => {
    const tree = "0".repeat(40);
    expect(await testsVerdict(undefined, nobody)).toMatchObject({ state: "unknown" });
    expect(await testsVerdict(tree, nobody)).toMatchObject({
      state: "failed",
      then: "make test, make test-engine, make test-cluster: here, for exactly this commit",
    });
    expect(await testsVerdict(tree, () => Promise.resolve("green"))).toMatchObject({ state: "passed" });
    expect(await testsVerdict(tree, () => Promise.resolve("red"))).toMatchObject({
      state: "failed",
      seen: "GitHub's checks of this commit are not green",
    });
  });
});

describe("the checklist", () => {
  const all = (over: Partial<Checks> = {}): Checks => ({
    ...(Object.fromEntries(
      items.map((item) => [item, () => Promise.resolve({ state: "passed", seen: "good" })]),
    ) as unknown as Checks),
    ...over,
  });
  const failing = () => Promise.resolve({ state: "failed", seen: "bad", then: "mend it" } as const);
  const silent = () => Promise.reject(new Error("no answer"));
  const override: Override = {
    item: "tests",
    stack: "dev",
    covers: "failed",
    reason: "why",
    until: "2030-01-31",
  };
  const day = (text: string) => new Date(`${text}T12:00:00Z`);

  test("is walked through in the order of the document, whose first six it is", async () => {
    const page = readFileSync(new URL("../../docs/release-checklist.md", import.meta.url), "utf8");
    const written = [...page.matchAll(/^\| ([\w ]+?) +\|/gm)].map(([, item]) => item).slice(1);
    expect(written).toHaveLength(8);
    expect((await walk(all(), "dev", [])).map(({ item }) => item)).toEqual(written.slice(0, 6));
  });

  test("takes no answer for no consent", async () => {
    const against = standingAgainst(await walk(all({ dashboards: silent }), "dev", []));
    expect(against).toMatchObject([{ item: "dashboards", state: "unknown", seen: "no answer" }]);
  });

  test("lets an override cover one item of one stack for one reason, to its last day", async () => {
    const items = async (checks: Checks, stack: string, date: string) =>
      standingAgainst(await walk(checks, stack, [override], day(date))).map(({ item }) => item);
    expect(await items(all({ tests: failing }), "dev", "2030-01-31")).toEqual([]);
    expect(await items(all({ tests: failing }), "dev", "2030-02-01")).toEqual(["tests"]);
    expect(await items(all({ tests: failing }), "prod", "2030-01-31")).toEqual(["tests"]);
    expect(await items(all({ tests: silent }), "dev", "2030-01-31")).toEqual(["tests"]);
    expect(await items(all({ dashboards: failing }), "dev", "2030-01-31")).toEqual(["dashboards"]);
  });

  test("never overrides findings of a security scan, and each override has a reason", () => {
    for (const { item, covers, reason } of overrides) {
      expect(reason.length).toBeGreaterThan(40);
      expect([item, covers]).not.toEqual(["security scan", "failed"]);
    }
  });

  test("refuses a release with what stands against it, and records what was seen and overridden", async () => {
    const applied: { data: { "records.json": string } }[] = [];
    const target: Target = {
      kubectl: (args, input) => {
        if (args.includes("get")) return Promise.resolve(applied.at(-1)?.data["records.json"] ?? "");
        applied.push(JSON.parse(input ?? "") as (typeof applied)[number]);
        return Promise.resolve("");
      },
    };
    const run = (checks: Checks, list: readonly Override[]) =>
      requireChecks(target, "app:1", checks, "dev", list);
    await expect(run(all({ tests: failing }), [])).rejects.toThrow("app:1 is not released: tests.");
    await run(all({ tests: failing }), [{ ...override, until: "9999-12-31" }]);
    for (let round = 0; round < 12; round += 1) await run(all(), []);
    const records = (index: number) =>
      JSON.parse(applied.at(index)?.data["records.json"] ?? "") as { image: string; entries: object[] }[];
    expect(records(1)).toMatchObject([
      { image: "app:1", entries: [{ item: "tests", state: "failed", then: "mend it" }, {}, {}, {}, {}, {}] },
      { image: "app:1", entries: [{ item: "tests", override: { reason: "why" } }, {}, {}, {}, {}, {}] },
    ]);
    expect(records(-1)).toHaveLength(10);
  });
});
