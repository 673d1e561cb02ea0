/** How a release ends when it is interrupted, or when the cluster does not answer: no user stays on an unjudged version. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { release, ReleaseAborted } from "../../local/delivery/release.ts";
import { before, candidate, World } from "./releaseWorld.ts";

/** Called in the middle of each pause. */
const pause = vi.hoisted(() => ({ meanwhile: (): unknown => undefined }));
vi.mock("node:timers/promises", () => ({
  // Time passes at once, and only here.
  setTimeout: vi.fn((milliseconds: number, _: unknown, options?: { signal?: AbortSignal }) => {
    vi.setSystemTime(Date.now() + milliseconds / 2);
    pause.meanwhile();
    if (options?.signal?.aborted) return Promise.reject(new Error("aborted"));
    vi.setSystemTime(Date.now() + milliseconds / 2);
    return Promise.resolve();
  }),
}));

const settings = {
  stepSeconds: 60,
  minimumRequests: 0,
  maximumErrorRatio: 0.001,
  maximumP95Milliseconds: 500,
  slowerThanStable: 1.5,
};
let world: World;
let said = "";
beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"] });
  vi.mocked(sleep).mockClear();
  world = new World();
  pause.meanwhile = () => undefined;
  said = "";
  vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    said += String(text);
    return true;
  });
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** What a release ends with. */
const ended = (): Promise<unknown> =>
  release(world.target, candidate, settings).then(
    () => undefined,
    (error: unknown) => error,
  );

/** Once the candidate has so many of the users and is looked at. */
const whenAt = (percent: number, then: () => void): void => {
  world.meanwhile = (asked) => {
    if (world.percent() === percent && asked.includes("get pods")) then();
  };
};

test("a release that nothing speaks against has all users, and signals are as they were", async () => {
  const listeners = process.listenerCount("SIGINT");
  expect(await ended()).toBeUndefined();
  expect(world.percent()).toBe(100);
  expect(JSON.parse(world.memory)).toEqual({ rejected: [], previous: before });
  // As long as the stack's own may take.
  expect(JSON.parse(world.migration)).toMatchObject({ spec: { activeDeadlineSeconds: 3600 } });
  expect(process.listenerCount("SIGINT")).toBe(listeners);
});

test("the way back is known before the first user is on it, and is what it was when it is taken back", async () => {
  const older = "app:0";
  world.memory = JSON.stringify({ previous: older, rejected: [before] });
  let atFirst = "";
  whenAt(10, () => {
    atFirst ||= world.memory;
    process.emit("SIGINT", "SIGINT");
  });
  expect(await ended()).toBeInstanceOf(ReleaseAborted);
  expect(JSON.parse(atFirst)).toEqual({ previous: before, rejected: [] });
  expect(JSON.parse(world.memory)).toEqual({ previous: older, rejected: [candidate] });
});

describe("a release that is interrupted", () => {
  test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)("by %s: is taken back, once", async (signal) => {
    whenAt(50, () => process.emit(signal, signal));
    const error = await ended();
    expect(error).toBeInstanceOf(ReleaseAborted);
    expect(String(error)).toContain(`taken back at 50 % of the users: it was interrupted (${signal})`);
    expect(world.percent()).toBe(0);
    expect([...world.deployments.keys()]).toEqual(["app"]);
    expect(JSON.parse(world.memory)).toMatchObject({ rejected: [candidate] });
    expect(world.sendingBack).toHaveLength(1);
    expect(process.listenerCount(signal)).toBe(0);
  });

  test("in a pause: does not wait for its end", async () => {
    let at = 0;
    pause.meanwhile = () => {
      if (world.percent() === 10 && at === 0) at = Date.now();
      if (at > 0) process.emit("SIGTERM", "SIGTERM");
    };
    expect(String(await ended())).toContain("at 10 % of the users: it was interrupted (SIGTERM)");
    expect(Date.now() - at).toBe(0);
  });

  test("goes on taking it back when it is interrupted again", async () => {
    whenAt(10, () => process.emit("SIGINT", "SIGINT"));
    const first = world.meanwhile;
    world.meanwhile = (asked) => {
      first(asked);
      if (asked.includes("delete deployment") && world.memory.includes(candidate))
        process.emit("SIGINT", "SIGINT");
    };
    expect(await ended()).toBeInstanceOf(ReleaseAborted);
    expect(world.deployments.has("app-candidate")).toBe(false);
  });

  test("before its pods are there, makes none", async () => {
    world.meanwhile = (asked) => {
      if (asked.includes("get job ")) process.emit("SIGTERM", "SIGTERM");
    };
    expect(String(await ended())).toContain("at 0 % of the users");
    expect(said).not.toContain("starts beside");
    expect(world.deployments.has("app-candidate")).toBe(false);
    expect(world.migrating).toBe(false);
  });
});

describe("a cluster that does not answer in the middle of a release", () => {
  /** From the first look at the step of 10 % on, for so long. */
  const awayFor = (seconds: number): void => {
    let since: number | undefined;
    world.meanwhile = (asked) => {
      if (world.percent() === 10 && asked.includes("get pods")) since ??= Date.now();
      if (since !== undefined && Date.now() < since + seconds * 1000) throw new Error("no route to host");
    };
  };

  test("is asked again until the users are back", async () => {
    awayFor(120);
    const error = await ended();
    expect(error).toBeInstanceOf(ReleaseAborted);
    expect(String(error)).toContain("taken back at 10 % of the users: no route to host");
    expect(world.percent()).toBe(0);
    expect(world.sendingBack.length).toBeGreaterThan(10);
  });

  test("for minutes: what is said is why it ended, who is where, and the way back", async () => {
    awayFor(3600);
    const error = await ended();
    expect(error).not.toBeInstanceOf(ReleaseAborted);
    expect(String(error)).toMatch(
      /ended: no route to host\n[^]*10 % of the users are still on app:2: make rollback/,
    );
  });

  test("once the users are back: is asked again to remove the pods", async () => {
    let failures = 0;
    whenAt(10, () => process.emit("SIGINT", "SIGINT"));
    const first = world.meanwhile;
    world.meanwhile = (asked) => {
      first(asked);
      if (world.sendingBack.length > 0 && asked.includes("delete deployment") && (failures += 1) < 4)
        throw new Error("no route to host");
    };
    expect(await ended()).toBeInstanceOf(ReleaseAborted);
    expect(world.deployments.has("app-candidate")).toBe(false);
    expect(world.sendingBack).toHaveLength(1);
  });
});
