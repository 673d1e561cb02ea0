/** Wherever users are sent, there are as many pods as where they were, though a scaler took those that nobody was on. */
import { beforeEach, expect, test, vi } from "vitest";
import { close } from "../../local/delivery/release.ts";
import { rollback } from "../../local/delivery/rollback.ts";
import { before, candidate, World } from "./releaseWorld.ts";

let world: World;
let changes: string[];
beforeEach(() => {
  vi.spyOn(process.stderr, "write").mockReturnValue(true);
  world = new World();
  changes = [];
  world.meanwhile = (asked) => {
    const change = /scale \S+ \S+|rollout status \S+|patch|delete deployment/.exec(asked)?.[0];
    if (change !== undefined) changes.push(change);
  };
  for (const name of Object.keys(world.shares)) world.shares[name] = "app-candidate";
  world.deployments.set("app-candidate", candidate);
  world.replicas.set("app-candidate", 10).set("app", 3);
  world.memory = JSON.stringify({ previous: before, rejected: [] });
});

const strengthened = ["scale deployment/app --replicas=10", "rollout status deployment/app"];

test("a rollback from an open release scales the stack's own pods first", async () => {
  expect(await rollback(world.target)).toBe(before);
  expect(changes).toEqual([...strengthened, "patch", "delete deployment"]);
});

test("a rollback does not wait for pods that do not come", async () => {
  const note = world.meanwhile;
  world.meanwhile = (asked) => {
    note(asked);
    if (asked.includes("rollout status")) throw new Error("timed out waiting for the condition");
  };
  expect(await rollback(world.target)).toBe(before);
  expect(world.percent()).toBe(0);
});

test("a rollback to the warm version scales that", async () => {
  for (const name of Object.keys(world.shares)) world.shares[name] = "app";
  world.deployments.set("app", candidate).set("app-candidate", before);
  world.replicas.set("app-candidate", 3).set("app", 10);
  expect(await rollback(world.target)).toBe(before);
  expect(changes.slice(0, 2)).toEqual([
    "scale deployment/app-candidate --replicas=10",
    "rollout status deployment/app-candidate",
  ]);
});

test("a release's close scales the stack's own pods, and the version before stays warm with as many", async () => {
  world.deployments.set("app", candidate);
  await close(world.target);
  expect(changes.slice(1, 4)).toEqual([...strengthened, "patch"]);
  expect(world.deployments.get("app-candidate")).toBe(before);
  expect(world.replicas.get("app-candidate")).toBe(10);
});

test("an app without a scaler has as many pods as its configuration says", async () => {
  world.scaled = false;
  expect(await rollback(world.target)).toBe(before);
  expect(changes).toEqual(["patch", "delete deployment"]);
});

test("a rollback ends though a pod of the candidate is on a node that is lost", async () => {
  const note = world.meanwhile;
  let lost = true;
  world.meanwhile = (asked) => {
    note(asked);
    if (asked.includes("delete pods") && asked.includes("--force")) lost = false;
    if (asked.includes("delete deployment") && lost) {
      expect(asked).toContain("--timeout=60s");
      throw new Error("timed out waiting for the condition on deployments/app-candidate");
    }
  };
  expect(await rollback(world.target)).toBe(before);
  expect(world.percent()).toBe(0);
  expect(world.deployments.has("app-candidate")).toBe(false);
});
