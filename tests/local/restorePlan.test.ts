import { describe, expect, test } from "vitest";
import { backup } from "../../local/delivery/deploy.ts";
import { sourceOf } from "../../local/restorePlan.ts";

const now = new Date("2026-01-02T12:00:00Z");
const asked = (from: string, toTime: string) => sourceOf({ from, toTime }, now);

describe("what make restore is told", () => {
  test.each([
    ["2026-01-01T00:07:00Z", "2026-01-01T00:07:00.000Z"],
    ["2026-01-01T09:07:00+09:00", "2026-01-01T00:07:00.000Z"],
    ["2026-01-01T00:07:00.123456Z", "2026-01-01T00:07:00.123Z"],
    ["2026-01-02T12:00:00Z", "2026-01-02T12:00:00.000Z"],
  ])("means one moment by TO_TIME=%s, with FROM=latest or without", (toTime, moment) => {
    const source = {
      moment,
      env: { MOMENT: moment },
      job: { namespace: "data", source: "cronjob/backup-recover" },
    };
    expect(asked("", toTime)).toMatchObject(source);
    expect(asked("latest", toTime)).toMatchObject(source);
    expect(asked("", toTime).env).toEqual(source.env);
  });

  test.each([
    "yesterday",
    "2026-01-01",
    "2026-01-01T00:07:00",
    "2026-02-30T00:07:00Z",
    "2026-13-01T00:07:00Z",
  ])("is no moment by TO_TIME=%s", (toTime) => {
    expect(() => asked("latest", toTime)).toThrow(`TO_TIME is "${toTime}" and may be a time with its zone`);
  });

  test("is refused for a moment that is yet to come, and for a dump with a moment", () => {
    expect(() => asked("latest", "2026-01-02T12:00:01Z")).toThrow(/which is yet to come/);
    expect(() => asked("hourly/20260101T000700Z", "2026-01-01T00:07:00Z")).toThrow(/leave FROM out/);
  });

  test("means a moment and the base backup to begin with by both", () => {
    const { env, job } = asked("base/20260101T024000Z", "2026-01-01T03:07:00Z");
    expect(env).toEqual({ MOMENT: "2026-01-01T03:07:00.000Z", FROM: "base/20260101T024000Z" });
    expect(job.source).toBe("cronjob/backup-recover");
  });

  test("means a dump by FROM alone", () => {
    expect(asked("latest", "")).toMatchObject({ env: { FROM: "latest" } });
    expect(asked("hourly/20260101T000700Z", "")).toMatchObject({
      env: { FROM: "hourly/20260101T000700Z" },
      job: { source: "cronjob/backup-restore" },
    });
    expect(() => asked("", "")).toThrow(/FROM is "" and may be latest/);
  });
});

test("make backup makes a dump or a base backup, and nothing else", async () => {
  await expect(backup("dev", "weekly")).rejects.toThrow('KIND is "weekly" and may be hourly or base');
});
