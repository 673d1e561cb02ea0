/** Where a rollback leads, from whatever it finds. */
import { beforeEach, describe, expect, test } from "vitest";
import { rollback } from "../../local/delivery/rollback.ts";
import { before, candidate, World } from "./releaseWorld.ts";

let world: World;
beforeEach(() => {
  world = new World();
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

  describe("never leads to a version that nobody has judged", () => {
    const older = "app:0";

    test("while its first pod is ready and it has no users, nor where a release was killed there", async () => {
      stand(before, candidate, 0, { previous: before, rejected: [] });
      await expect(rollback(world.target)).rejects.toThrow(noOther);
      expect([world.percent(), rejected()]).toEqual([0, []]);
      world.memory = JSON.stringify({ previous: older, rejected: [] });
      expect(await rollback(world.target)).toBe(older);
      expect([world.percent(), world.deployments.get("app-candidate")]).toEqual([100, older]);
    });

    test("when it has some of the users and the stack's own was rejected", async () => {
      stand(before, candidate, 0, { previous: older, rejected: [before, older] });
      world.shares["app-share-10"] = "app-candidate";
      await expect(rollback(world.target)).rejects.toThrow(noOther);
      expect(world.percent()).toBe(10);
    });
  });

  test("neither leads to nor names what no ready pod is of: a rollout that does not get ahead", async () => {
    stand("app:3", candidate, 100, { previous: before, rejected: [] });
    world.serving.set("app", before);
    await expect(rollback(world.target)).rejects.toThrow(`${noOther}: nothing was changed. The stack's own`);
    expect([world.percent(), rejected()]).toEqual([100, []]);
  });

  test("finds no pods at all for its users and starts the version before", async () => {
    stand(candidate, undefined, 100, { previous: before, rejected: [candidate] });
    expect(await rollback(world.target)).toBe(before);
    expect([world.percent(), world.deployments.get("app-candidate")]).toEqual([100, before]);
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
