/** A disaster drill that is cut off: what it leaves can be brought up again. Cluster and engine are models, and nothing is asked. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type * as client from "@kubernetes/client-node";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type * as clusters from "../../local/cluster.ts";
import { drDrill, loseAndRestore } from "../../local/drDrill.ts";
import type * as engines from "../../local/engine.ts";
import { withLock } from "../../local/lock.ts";
import type * as restores from "../../local/restore.ts";
import { sourceOf } from "../../local/restorePlan.ts";
import type * as stacks from "../../local/stack.ts";
import { pulumiUp } from "../../local/up.ts";

const stores = ["postgres", "redis-queue", "redis-cache"];
const urnOf = (name: string): string => `urn:pulumi:dev::groundwork::x::${name}`;

/** One member of each store. Nothing is waited for, but that no server starts without its set. */
class World {
  readonly sets = new Set(stores);
  pods = true;
  /** The volumes' claims. */
  claims = true;
  /** Patroni's, in the API server. */
  memory = true;
  /** Whether migrations ran in the database that there is. */
  schema = true;
  restored = false;
  /** Sets that the engine believes to be there. */
  readonly known = new Set(stores);
  readonly tainted = new Set<string>();
  share = "app";
  readonly asked: string[] = [];
  /** Called before and after what changes something. */
  moment: (asked: string) => void = () => undefined;

  serves(): boolean {
    return this.sets.size === stores.length && this.pods && this.claims && this.memory && this.schema;
  }

  #changes(asked: string, change: () => void): void {
    this.moment(asked);
    this.asked.push(asked);
    change();
    this.moment(asked);
  }

  kubectl(args: readonly string[]): string {
    const asked = args.join(" ");
    this.#changes(asked, () => {
      if (asked.startsWith("delete statefulsets")) {
        this.sets.clear();
        if (asked.includes("--cascade=orphan")) return;
        [this.pods, this.claims] = [false, false];
      }
      if (asked.startsWith("delete pods")) this.pods = this.sets.size > 0;
      if (asked.startsWith("delete endpoints")) this.memory = this.pods;
      if (asked.startsWith("delete persistentvolumeclaims")) {
        expect(this.pods).toBe(false);
        this.claims = false;
      }
      if (!this.claims) this.schema = false;
    });
    return "";
  }

  pulumiOutput(args: readonly string[]): string {
    const asked = args.join(" ");
    if (asked.startsWith("stack export")) {
      const resource = (kind: string, name: string): object => ({
        urn: urnOf(name),
        id: `data/${name}`,
        inputs: { apiVersion: "x/v1", kind, metadata: { name, namespace: "data" } },
      });
      const sets = [...this.known].map((name) => resource("StatefulSet", name));
      return JSON.stringify({ deployment: { resources: [...sets, resource("Job", "app-migrate")] } });
    }
    this.#changes(asked, () => {
      if (asked.startsWith("state taint")) this.tainted.add(args.at(-1) ?? "");
      if (!asked.startsWith("refresh")) return;
      for (const name of this.known)
        if (!this.sets.has(name) && args.includes(urnOf(name))) this.known.delete(name);
    });
    return "";
  }

  pulumi(args: readonly string[]): number {
    this.#changes(args.join(" "), () => {
      for (const name of stores.filter((store) => !this.known.has(store))) {
        this.sets.add(name);
        this.known.add(name);
      }
      if (this.sets.size < stores.length) return;
      this.pods = true;
      // Of an empty server Patroni asks who leads.
      if (!this.claims && this.memory) throw new Error("waiting for leader to bootstrap");
      [this.claims, this.memory] = [true, true];
      if (this.tainted.delete(urnOf("app-migrate"))) this.schema = true;
    });
    return 0;
  }
}

const the = vi.hoisted(() => ({}) as { world: World; directory: string });
/** What is thrown in it rejects. */
const later = vi.hoisted(
  () =>
    <T>(answer: () => T): Promise<T> =>
      new Promise((resolve) => {
        resolve(answer());
      }),
);
const cluster: clusters.Cluster = {
  kind: "kind",
  kubeconfig: "none",
  context: "none",
  loopbackSources: [],
  apiServerCidrs: [],
};
const engine = (): stacks.Engine => ({
  pulumi: "none",
  env: { PULUMI_BACKEND_URL: pathToFileURL(the.directory).href },
  project: the.directory,
});

vi.mock("@kubernetes/client-node", async (original) => {
  const { ApiException } = await original<typeof client>();
  const read = ({ metadata }: { metadata: { name: string } }): Promise<void> =>
    later(() => {
      if (!the.world.sets.has(metadata.name)) throw new ApiException(404, "", "", {});
    });
  class KubeConfig {
    loadFromFile = vi.fn();
    setCurrentContext = vi.fn();
  }
  return {
    ApiException,
    KubeConfig,
    KubernetesObjectApi: { makeApiClient: () => ({ read }) },
  };
});
vi.mock("../../local/cluster.ts", async (original) => ({
  ...(await original<typeof clusters>()),
  operatedCluster: () => Promise.resolve(cluster),
  kubectl: (_: unknown, args: readonly string[]) => later(() => the.world.kubectl(args)),
}));
vi.mock("../../local/delivery/target.ts", () => ({ clusterTarget: () => Promise.resolve({}) }));
vi.mock("../../local/delivery/traffic.ts", () => ({
  candidatePercent: () => Promise.resolve(the.world.share === "app" ? 0 : 100),
}));
vi.mock("../../local/engine.ts", async (original) => ({
  ...(await original<typeof engines>()),
  preparedEngine: () => Promise.resolve(engine()),
}));
vi.mock("../../local/stack.ts", async (original) => ({
  ...(await original<typeof stacks>()),
  pulumi: (_: unknown, args: readonly string[]) => later(() => the.world.pulumi(args)),
  pulumiOutput: (_: unknown, args: readonly string[]) => later(() => the.world.pulumiOutput(args)),
}));
vi.mock("../../local/restore.ts", async (original) => ({
  ...(await original<typeof restores>()),
  restoreFrom: () =>
    later(() => {
      expect(the.world.serves()).toBe(true);
      the.world.restored = true;
      return { restored: "", aside: "aside" };
    }),
}));

let said = "";
beforeEach(async () => {
  the.world = new World();
  the.directory = await mkdtemp(join(tmpdir(), "groundwork-drill-"));
  vi.stubEnv("GROUNDWORK_CACHE", the.directory);
  said = "";
  vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    said += String(text);
    return true;
  });
});
afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  await rm(the.directory, { recursive: true });
});

const backup = sourceOf({ from: "hourly/20260101T000700Z", toTime: "" }, new Date());
const wayBack = /make up[^]*make restore FROM=hourly\/20260101T000700Z CONFIRM=yes/;

test("what is destroyed is made again before the backup is restored", async () => {
  await expect(loseAndRestore(cluster, backup)).resolves.toMatchObject({ aside: "aside" });
  expect(the.world.asked.filter((asked) => asked.startsWith("delete"))).toHaveLength(4);
  expect(the.world.restored).toBe(true);
});

test("a drill that is cut off anywhere leaves what the next up makes work, and says the way back before it begins", async () => {
  let cuts = 0;
  for (let moments = 1, whole = false; !whole; moments += 1) {
    the.world = new World();
    let left = moments;
    the.world.moment = () => {
      if ((left -= 1) === 0) throw new Error("cut off");
    };
    said = "";
    whole = await loseAndRestore(cluster, backup).then(
      () => true,
      (error: unknown) => {
        expect(String(error)).toMatch(wayBack);
        return false;
      },
    );
    expect(said).toMatch(wayBack);
    the.world.moment = () => undefined;
    if (whole) continue;
    cuts += 1;
    await pulumiUp({ engine: engine(), cluster });
    expect(the.world.serves(), the.world.asked.join("\n")).toBe(true);
  }
  // Before and after four deletions, a taint, a refresh and an up.
  expect(cuts).toBe(14);
});

test.each(["delete pods", "refresh", "up"])(
  "one that is interrupted says so, and goes no further: at %s",
  async (at) => {
    the.world.moment = (asked) => {
      if (asked.startsWith(at)) process.emit("SIGTERM", "SIGTERM");
    };
    const error = String(await loseAndRestore(cluster, backup).catch((reason: unknown) => reason));
    expect(error).toContain("it was interrupted (SIGTERM)\n");
    expect(error).toMatch(wayBack);
    expect(the.world.restored).toBe(false);
    expect(process.listenerCount("SIGTERM")).toBe(0);
  },
);

describe("a drill does nothing", () => {
  test("while users are on a release", async () => {
    the.world.share = "app-candidate";
    await expect(drDrill("10", "")).rejects.toThrow("100 % of the users are on app-candidate");
    expect(the.world.asked).toEqual([]);
  });

  test.each(["release", "stack"])("while another run holds the %s", async (lock) => {
    await expect(withLock(lock, () => drDrill("10", ""))).rejects.toThrow(`the "${lock}" lock`);
    expect(the.world.asked).toEqual([]);
  });
});

test("a drill first brings up what one before it has left", async () => {
  the.world.moment = (asked) => {
    if (asked.startsWith("refresh")) throw new Error("cut off");
  };
  await expect(loseAndRestore(cluster, backup)).rejects.toThrow("cut off");
  the.world.moment = () => undefined;
  expect(the.world.serves()).toBe(false);
  // The model has no server to load anything into.
  await expect(drDrill("10", "")).rejects.toThrow("Postgres has no primary");
  expect(the.world.serves()).toBe(true);
});

test("an up that finds everything in the cluster asks for nothing else", async () => {
  await pulumiUp({ engine: engine(), cluster });
  expect(the.world.asked).toEqual(["up --yes --skip-preview --stack dev"]);
});
