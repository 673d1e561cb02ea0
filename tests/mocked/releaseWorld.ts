/** A cluster for tests of releases, in which nothing takes time. */
import type { Target } from "../../local/delivery/target.ts";

export const [before, candidate] = ["app:1", "app:2"];
const labels = { "app.kubernetes.io/name": "app" };

/** Lets everything else that is ready go on, so many times. */
export async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** A cluster that keeps what a release changes, and says what it was asked for. */
export class World {
  readonly shares: Record<string, string> = {
    "app-share-10": "app",
    "app-share-40": "app",
    "app-share-50": "app",
  };
  readonly deployments = new Map([["app", before]]);
  /** What the ready pods are, where that is not what their Deployment wants: in the middle of a rollout. */
  readonly serving = new Map<string, string>();
  /** How many pods a Deployment is meant to have; one where nothing is said. */
  readonly replicas = new Map<string, number>();
  /** Whether the app has a scaler. */
  scaled = true;
  memory = "";
  /** Whose turn it is to move users. */
  turn = "";
  /** The Job that brings the schema to what the candidate needs. */
  migration = "";
  migrating = false;
  /** Whether the stack's app has migrations, and the Job of the last is there. */
  migrates = true;
  migrated = true;
  /** Called before each answer with the arguments. */
  meanwhile: (asked: string) => void = () => undefined;
  readonly sendingBack: string[] = [];

  /** Whether changes are under way for a while before they arrive. */
  far = false;

  readonly target: Target = {
    kubectl: async (args, input) => {
      const asked = args.join(" ");
      if (/patch.*app"/.test(asked)) this.sendingBack.push(asked);
      this.meanwhile(asked);
      if (this.far && !args.includes("get")) await turns(2);
      return this.#answer(args, asked, input ?? "");
    },
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
        spec: { replicas: this.replicas.get(args[4] ?? "") ?? 1, template },
      });
    }
    if (asked.includes("get replicasets")) {
      const slot = /=(app|app-candidate) /.exec(asked)?.[1] ?? "";
      const image = this.serving.get(slot) ?? this.deployments.get(slot);
      const template = { spec: { containers: [{ image }] } };
      return JSON.stringify({ items: image ? [{ spec: { template }, status: { readyReplicas: 1 } }] : [] });
    }
    if (asked.includes("get configmap app-release-run")) return this.turn;
    if (asked.includes("delete configmap app-release-run")) this.turn = "";
    if (asked.includes("get configmap app-release ")) return this.memory;
    if (asked.includes("get serviceaccount app-migrate"))
      return this.migrates ? "serviceaccount/app-migrate" : "";
    if (asked.includes("get jobs") && !this.migrated) return '{"items":[]}';
    if (asked.includes("get jobs")) {
      const template = { spec: { containers: [{ image: before }] } };
      const spec = { activeDeadlineSeconds: 3600, template };
      return JSON.stringify({ items: [{ metadata: { creationTimestamp: "2026-01-01" }, spec }] });
    }
    if (asked.includes("get job ")) return "Complete";
    if (asked.includes("get pods")) return "0 true\n";
    if (asked.includes(" promtool ")) return '[{"metric":{},"value":[0,"0.1"]}]';
    if (asked.includes("patch")) {
      const slot = /app-candidate"/.test(asked) ? "app-candidate" : "app";
      for (const name of Object.keys(this.shares)) if (asked.includes(name)) this.shares[name] = slot;
    }
    if (asked.startsWith("create") && input.includes('"Job"'))
      [this.migration, this.migrating] = [input, true];
    if (asked.includes("delete job")) this.migrating = false;
    if (asked.startsWith("create") && input.includes('"Deployment"')) {
      this.deployments.set("app-candidate", /"image":"([^"]+)"/.exec(input)?.[1] ?? "");
      this.replicas.set("app-candidate", Number(/"replicas":(\d+)/.exec(input)?.[1]));
    }
    const [, scaled, replicas] = /scale deployment\/(\S+) --replicas=(\d+)/.exec(asked) ?? [];
    if (scaled !== undefined) this.replicas.set(scaled, Number(replicas));
    if (asked.includes("get horizontalpodautoscaler"))
      return this.scaled ? "horizontalpodautoscaler/app" : "";
    if (asked.includes("delete deployment")) this.deployments.delete("app-candidate");
    if (input.includes('"ConfigMap"')) {
      const { by, memory } = (JSON.parse(input) as { data: { by?: string; memory?: string } }).data;
      if (by !== undefined && asked.startsWith("create") && this.turn !== "")
        throw new Error("AlreadyExists");
      this.turn = by ?? this.turn;
      this.memory = memory ?? this.memory;
    }
    return "";
  }
}
