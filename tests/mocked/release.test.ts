/** How a release ends when it is interrupted, or when the cluster does not answer: no user stays on an unjudged version. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { release, ReleaseAborted, rollback } from "../../local/delivery/release.ts";
import type { Target } from "../../local/delivery/target.ts";

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
const [before, candidate] = ["app:1", "app:2"];
const labels = { "app.kubernetes.io/name": "app" };

/** A cluster that keeps what a release changes, and says what it was asked for. */
class World {
  readonly shares: Record<string, string> = {
    "app-share-10": "app",
    "app-share-40": "app",
    "app-share-50": "app",
  };
  readonly deployments = new Map([["app", before]]);
  memory = "";
  /** The Job that brings the schema to what the candidate needs. */
  migration = "";
  migrating = false;
  /** Called before each answer with the arguments. */
  meanwhile: (asked: string) => void = () => undefined;
  readonly sendingBack: string[] = [];

  readonly target: Target = {
    kubectl: (args, input) =>
      // What is thrown in here rejects.
      new Promise((resolve) => {
        const asked = args.join(" ");
        if (/patch.*app"/.test(asked)) this.sendingBack.push(asked);
        this.meanwhile(asked);
        resolve(this.#answer(args, asked, input ?? ""));
      }),
  };

  percent(): number {
    return Object.entries(this.shares).reduce(
      (sum, [name, slot]) => sum + (slot === "app-candidate" ? Number(name.split("-").at(-1)) : 0),
      0,
    );
  }

  #answer(args: readonly string[], asked: string, input: string): string {
    if (asked.includes("get services")) {
      const items = Object.entries(this.shares).map(([name, slot]) => ({
        metadata: { name },
        spec: { selector: { "app.kubernetes.io/name": slot } },
      }));
      return JSON.stringify({ items });
    }
    if (asked.includes("get deployment ")) {
      const image = this.deployments.get(args[4] ?? "");
      if (image === undefined) return "";
      const template = { metadata: { labels }, spec: { containers: [{ image }] } };
      return JSON.stringify({
        metadata: { labels },
        spec: { replicas: 1, template },
        status: { readyReplicas: 1 },
      });
    }
    if (asked.includes("get configmap app-release")) return this.memory;
    if (asked.includes("get jobs")) {
      const template = { spec: { containers: [{ image: before }] } };
      const spec = { activeDeadlineSeconds: 3600, template };
      return JSON.stringify({ items: [{ metadata: { creationTimestamp: "2026-01-01" }, spec }] });
    }
    if (asked.includes("get job ")) return "Complete";
    if (asked.includes("get pods")) return "0 true\n";
    if (asked.startsWith("get --raw")) return '{"data":{"result":[{"metric":{},"value":[0,"0.1"]}]}}';
    if (asked.includes("patch")) {
      const slot = /app-candidate"/.test(asked) ? "app-candidate" : "app";
      for (const name of Object.keys(this.shares)) if (asked.includes(name)) this.shares[name] = slot;
    }
    if (asked.startsWith("create") && input.includes('"Job"'))
      [this.migration, this.migrating] = [input, true];
    if (asked.includes("delete job")) this.migrating = false;
    if (asked.startsWith("create") && input.includes('"Deployment"'))
      this.deployments.set("app-candidate", /"image":"([^"]+)"/.exec(input)?.[1] ?? "");
    if (asked.includes("delete deployment")) this.deployments.delete("app-candidate");
    if (asked.startsWith("apply"))
      this.memory = (JSON.parse(input) as { data: { memory: string } }).data.memory;
    return "";
  }
}

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

describe("a rollback", () => {
  const noOther = "There is no other good version that runs";
  const stand = (app: string, warm: string | undefined, percent: number, memory: object): void => {
    world.deployments.set("app", app);
    if (warm !== undefined) world.deployments.set("app-candidate", warm);
    if (percent === 100) for (const name of Object.keys(world.shares)) world.shares[name] = "app-candidate";
    world.memory = JSON.stringify(memory);
  };
  const rejected = (): unknown => (JSON.parse(world.memory) as { rejected: unknown }).rejected;

  test("of an open release leads to the version before, and given again nowhere else", async () => {
    stand(before, candidate, 100, { previous: before, rejected: [] });
    expect(await rollback(world.target)).toBe(before);
    expect([world.percent(), rejected()]).toEqual([0, [candidate]]);
    await expect(rollback(world.target)).rejects.toThrow(noOther);
    expect([world.percent(), rejected()]).toEqual([0, [candidate]]);
  });

  test("of a closed one leads to the warm version, and given again does not lead back to the bad one", async () => {
    stand(candidate, before, 0, { previous: before, rejected: [] });
    expect(await rollback(world.target)).toBe(before);
    expect([world.percent(), rejected()]).toEqual([100, [candidate]]);
    await expect(rollback(world.target)).rejects.toThrow(noOther);
    expect([world.percent(), rejected(), world.deployments.get("app-candidate")]).toEqual([
      100,
      [candidate],
      before,
    ]);
  });

  test("when the stack has the release, too, starts the version before again", async () => {
    stand(candidate, candidate, 100, { previous: before, rejected: [] });
    expect(await rollback(world.target)).toBe(before);
    expect(world.deployments.get("app-candidate")).toBe(before);
    expect([world.percent(), rejected()]).toEqual([100, [candidate]]);
    await expect(rollback(world.target)).rejects.toThrow(noOther);
  });

  test.each([
    { what: "an open release", app: before, warm: candidate, share: 100, ends: 0 },
    { what: "a closed release", app: candidate, warm: before, share: 0, ends: 100 },
    { what: "a release that the stack has, too", app: candidate, warm: candidate, share: 100, ends: 100 },
  ])("of $what that is cut off anywhere is finished by the next", async ({ app, warm, share, ends }) => {
    for (let calls = 1, finished = false; !finished; calls += 1) {
      world = new World();
      stand(app, warm, share, { previous: before, rejected: [] });
      let left = calls;
      world.meanwhile = (asked) => {
        if (/^(?!.*\bget\b)/.test(asked) && (left -= 1) === 0) throw new Error("no route to host");
      };
      finished = await rollback(world.target).then(
        () => true,
        () => false,
      );
      world.meanwhile = () => undefined;
      if (!finished) await rollback(world.target).catch(() => undefined);
      expect(world.percent()).toBe(ends);
      expect(world.deployments.get(ends === 100 ? "app-candidate" : "app")).toBe(before);
      expect(rejected()).toEqual([candidate]);
    }
  });
});
