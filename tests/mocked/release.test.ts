/** How a release ends when it is interrupted, or when the cluster does not answer: no user stays on an unjudged version. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { release, ReleaseAborted, releaseCommand } from "../../local/delivery/release.ts";
import { rollback } from "../../local/delivery/rollback.ts";
import { TakenOver } from "../../local/delivery/turn.ts";
import { UserError } from "../../local/system.ts";
import { before, candidate, turns, World } from "./releaseWorld.ts";

/** Called in the middle of each pause. */
const pause = vi.hoisted(() => ({ meanwhile: (): unknown => undefined }));
vi.mock("node:timers/promises", () => ({
  // Time passes at once, and only here.
  setTimeout: vi.fn((milliseconds: number, _: unknown, options?: { signal?: AbortSignal }) => {
    vi.setSystemTime(Date.now() + milliseconds / 2);
    pause.meanwhile();
    if (options?.signal?.aborted) return Promise.reject(new Error("aborted"));
    vi.setSystemTime(Date.now() + milliseconds / 2);
    // Whatever was on its way has arrived.
    return turns(4);
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
const ended = (stepSeconds = settings.stepSeconds): Promise<unknown> =>
  release(world.target, candidate, { ...settings, stepSeconds }).then(
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
  // The app's scaler sees more load in the first step.
  whenAt(10, () => world.replicas.set("app", 8));
  expect(await ended()).toBeUndefined();
  expect([world.percent(), world.replicas.get("app-candidate")]).toEqual([100, 8]);
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

test("an app without migrations is released without one, and one whose Job is gone is refused at first", async () => {
  [world.migrates, world.migrated] = [true, false];
  const changes: string[] = [];
  world.meanwhile = (asked) => void (/^(?!.*\bget\b)/.test(asked) && changes.push(asked));
  expect(String(await ended())).toMatch(/last migration.*was deleted: `pulumi up --refresh`/);
  expect(changes).toEqual([]);
  world.migrates = false;
  expect(await ended()).toBeUndefined();
  expect([world.percent(), world.migration]).toEqual([100, ""]);
});

test.each(["", "app:", "app; reboot"])(
  "an IMAGE that is none is refused before a cluster is asked: %j",
  async (image) => {
    const cache = await mkdtemp(join(tmpdir(), "groundwork-release-"));
    vi.stubEnv("GROUNDWORK_CACHE", cache);
    await expect(releaseCommand("dev", image)).rejects.toThrow(`IMAGE is "${image}" and may be`);
    vi.unstubAllEnvs();
    await rm(cache, { recursive: true });
  },
);

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
    expect(said.match(/is tried again/g)?.length).toBeGreaterThan(10);
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

describe("a release and another run", () => {
  const warm = "app:0";
  beforeEach(() => {
    world.deployments.set("app-candidate", warm);
    world.memory = JSON.stringify({ previous: warm, rejected: [] });
  });

  test("whose turn it is: is refused before anything is changed, and told whose and what if it was killed", async () => {
    world.turn = "make release IMAGE=app:3 on laptop, process 7";
    const error = await ended();
    expect(error).toBeInstanceOf(UserError);
    expect(String(error)).toMatch(/app:3 on laptop, process 7\..*delete configmap app-release-run/);
    expect([world.migration, world.deployments.get("app-candidate")]).toEqual(["", warm]);
    expect(world.turn).toContain("app:3");
  });

  test("which comes later: has its turn as soon as the first is over", async () => {
    expect(await ended()).toBeUndefined();
    expect(world.turn).toBe("");
  });

  test("which is a rollback: touches nothing any more, wherever it was, and users have what that names", async () => {
    let takenOver = 0;
    for (let call = 1, over = false; !over; call += 1) {
      world = new World();
      world.far = true;
      world.deployments.set("app-candidate", warm);
      world.memory = JSON.stringify({ previous: warm, rejected: [] });
      let rolledBack: Promise<unknown> | undefined;
      let calls = 0;
      world.meanwhile = () => {
        if (rolledBack === undefined && (calls += 1) === call)
          rolledBack = rollback(world.target).catch((error: unknown) => error);
      };
      const error = await ended(5);
      over = rolledBack === undefined;
      const image = await rolledBack;
      const where = `at call ${call}: ${String(error)}`;
      if (error instanceof TakenOver) takenOver += 1;
      expect([0, 100], where).toContain(world.percent());
      const served = world.deployments.get(world.percent() === 0 ? "app" : "app-candidate");
      // Where there is no way back, the release goes on, or leaves its users where they were.
      const other = error === undefined ? candidate : before;
      expect(served, where).toBe(typeof image === "string" ? image : other);
    }
    expect(takenOver).toBeGreaterThan(20);
  }, 60_000);

  test.each(["a failed migration", "an interruption in its migration"])(
    "%s leaves the version before warm",
    async (what) => {
      world.meanwhile = (asked) => {
        if (!asked.includes("get job ")) return;
        if (what === "a failed migration") throw new Error("its migration failed");
        process.emit("SIGTERM", "SIGTERM");
      };
      expect(await ended()).toBeInstanceOf(ReleaseAborted);
      expect([world.percent(), world.deployments.get("app-candidate")]).toEqual([0, warm]);
    },
  );
});
