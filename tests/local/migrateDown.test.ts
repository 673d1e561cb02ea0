import { expect, test } from "vitest";
import { specOf } from "../../local/jobs.ts";
import { countOf } from "../../local/migrateDown.ts";

test("one migration is taken back, or as many as COUNT says", () => {
  expect(countOf("")).toBe(1);
  expect(countOf("12")).toBe(12);
});

test.each(["0", "-1", "1.5", "all", "1e3"])("COUNT=%s is refused, with what it may be", (count) => {
  expect(() => countOf(count)).toThrow(`COUNT is "${count}" and may be a whole number`);
});

test("a Job is run again with another image and command, and all else its own", () => {
  const container = {
    name: "migrate",
    image: "app@sha256:new",
    command: ["up"],
    env: [{ name: "A", value: "1" }],
  };
  const template = {
    metadata: { labels: { "job-name": "one", app: "migrate" } },
    spec: { containers: [container] },
  };
  expect(specOf({ spec: { template } }, { image: "app@sha256:old", command: ["down"] })).toMatchObject({
    template: {
      metadata: { labels: { app: "migrate" } },
      spec: { containers: [{ ...container, image: "app@sha256:old", command: ["down"] }] },
    },
  });
});
