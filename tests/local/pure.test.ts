import { describe, expect, test } from "vitest";
import { isCurrent } from "../../local/certificates.ts";
import { next } from "../../local/passwords.ts";
import { explain } from "../../local/gotools.ts";
import { dockerIgnore } from "../../local/images/contents.ts";
import { fullName } from "../../local/node/images.ts";
import { quantityBytes } from "../../local/node/volumes.ts";
import { withCreated } from "../../local/recover.ts";
import { merge } from "../../local/stack.ts";

describe("settings of this machine over the committed ones", () => {
  test("are merged key by key, lists and scalars replaced", () => {
    const base = { edge: { hosts: ["a"], replicas: 2 }, environment: "development" };
    const over = { edge: { hosts: ["b"] }, images: { app: "app:1" } };
    expect(merge(base, over)).toEqual({
      edge: { hosts: ["b"], replicas: 2 },
      environment: "development",
      images: { app: "app:1" },
    });
  });

  test("leave what they are made from untouched", () => {
    const base = { edge: { replicas: 2 } };
    merge(base, { edge: { replicas: 3 } });
    expect(base).toEqual({ edge: { replicas: 2 } });
  });
});

test.each([
  ["1Gi", 1024 ** 3],
  ["512Mi", 512 * 1024 ** 2],
  ["1.5Gi", 1.5 * 1024 ** 3],
  ["1G", 1e9],
  ["100", 100],
])("a volume of %s has %d bytes", (quantity, bytes) => {
  expect(quantityBytes(quantity)).toBe(bytes);
});

test.each(["", "Gi", "1Xi", "much"])("a volume of %j is refused", (quantity) => {
  expect(() => quantityBytes(quantity)).toThrow(/is not a size/);
});

test.each([
  ["app:1", "docker.io/library/app:1"],
  ["groundwork/app:1", "docker.io/groundwork/app:1"],
  ["registry.example.com/app:1", "registry.example.com/app:1"],
  ["localhost/app:1", "localhost/app:1"],
])("containerd knows the image %s as %s", (name, full) => {
  expect(fullName(name)).toBe(full);
});

test("a certificate that cannot be read is renewed", () => {
  expect(isCurrent(undefined, new Date())).toBe(false);
  expect(isCurrent("not a certificate", new Date())).toBe(false);
});

test("what .dockerignore excludes is not part of an image's hash", () => {
  const ignored = dockerIgnore("node_modules\n*.log\ntests\n!tests/kept.ts\n");
  expect(ignored("node_modules/x/index.js")).toBe(true);
  expect(ignored("npm.log")).toBe(true);
  expect(ignored("src/server.ts")).toBe(false);
  expect(ignored("tests/other.ts")).toBe(true);
  expect(ignored("tests/kept.ts")).toBe(false);
});

test.each([
  ["write x: no space left on device", /filled the disk/],
  ["verifying module: checksum mismatch", /Do not go on/],
  ["Get https://x: dial tcp: i/o timeout", /run the same command again/],
  ["undefined: foo", /the whole log is \/log/],
])("a build that failed with %j says what to do", (log, advice) => {
  expect(explain("kubelet", log, "/log")).toMatch(advice);
});

test("a rotation goes by both passwords to the new one, and the next one takes the place that is free", () => {
  const steps = [next([1])];
  for (let step = 1; step < 6; step++) steps.push(next(steps.at(-1) ?? [1]));
  expect(steps).toEqual([[1, 2], [2, 1], [2], [2, 3], [3, 2], [3]]);
});

describe("what a killed up had created, in its state", () => {
  const created = { urn: "urn::job", inputs: { kind: "Job" } };
  const made = {
    ...created,
    id: "app/job",
    outputs: { kind: "Job", __inputs: created.inputs },
    initErrors: ["its creation was interrupted"],
  };
  const [before, after] = [{ urn: "urn::volume" }, { urn: "urn::pod" }];

  test.each<[string, object[], object[]]>([
    ["is added", [], [made]],
    [
      "takes the place of what was deleted for it",
      [{ ...created, id: "app/other", pendingReplacement: true }],
      [made],
    ],
    ["takes the place of the same object", [{ ...created, id: "app/job" }], [made]],
    [
      "leaves what it replaces to be deleted",
      [{ ...created, id: "app/other" }],
      [made, { ...created, id: "app/other", delete: true }],
    ],
    [
      "leaves alone what is to be deleted already",
      [{ ...created, id: "app/old", delete: true }],
      [{ ...created, id: "app/old", delete: true }, made],
    ],
  ])("%s", (_, known, wanted) => {
    const state = withCreated([before, ...known, after] as never, created, "app/job");
    expect(state.filter(({ urn }) => urn === "urn::job")).toEqual(wanted);
    expect(state[0]).toEqual(before);
    expect(state).toContainEqual(after);
  });

  test("stands where the one before stood, after what it needs and before what needs it", () => {
    const state = withCreated([before, { ...created, id: "app/other" }, after] as never, created, "app/job");
    expect(state.slice(0, 3)).toEqual([before, made, after]);
  });
});
