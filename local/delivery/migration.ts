/** The schema is brought to what a new version needs before it starts; the version before must be able to live with it. */
import { z } from "zod";
import { setTimeout as sleep } from "node:timers/promises";
import { jobByHand } from "../jobs.ts";
import { UserError } from "../system.ts";
import type { Target } from "./target.ts";

const jobsShape = z.object({
  items: z.array(
    z.object({
      metadata: z.object({ creationTimestamp: z.string() }),
      spec: z.object({
        activeDeadlineSeconds: z.number(),
        template: z.object({
          spec: z.looseObject({ containers: z.array(z.looseObject({ image: z.string() })).min(1) }),
        }),
      }),
    }),
  ),
});
const name = "app-release-migrate";
const inApp = ["--namespace", "app"];

/** The Job that a release runs with another image. */
export type Migration = z.infer<typeof jobsShape>["items"][number]["spec"];

/**
 * The stack's own migration; undefined when its app has none.
 * @throws {UserError} when the app has one, and its Job is gone.
 */
export async function migrationOf({ kubectl }: Target): Promise<Migration | undefined> {
  const own = "app-migrate";
  const selector = `--selector=app.kubernetes.io/name=${own}`;
  const [jobs, account] = await Promise.all([
    kubectl([...inApp, "get", "jobs", selector, "--output=json"]),
    kubectl([...inApp, "get", "serviceaccount", own, "--ignore-not-found", "--output=name"]),
  ]);
  const { items } = jobsShape.parse(JSON.parse(jobs));
  const [latest] = items.sort((a, b) =>
    b.metadata.creationTimestamp.localeCompare(a.metadata.creationTimestamp),
  );
  if (!latest && account.trim() !== "")
    throw new UserError(
      "The Job of the stack's last migration, of which a release runs a copy, was deleted: `pulumi up --refresh` makes it again. " +
        "An app without migrations has groundwork:app.container.migration: [].",
    );
  return latest?.spec;
}

/** Runs a migration with another image, for as long as that may take. @throws what the migration said when it failed. */
export async function migrate({ kubectl }: Target, image: string, migration: Migration): Promise<void> {
  const { activeDeadlineSeconds, template } = migration;
  const { spec } = template;
  const containers = spec.containers.map((container) => ({ ...container, image }));
  const manifest = jobByHand("app", name, {
    backoffLimit: 0,
    activeDeadlineSeconds,
    template: {
      metadata: { labels: { "app.kubernetes.io/name": "app-migrate" } },
      spec: { ...spec, containers },
    },
  });
  await kubectl([...inApp, "delete", "job", name, "--ignore-not-found"]);
  await kubectl(["create", "--filename=-"], JSON.stringify(manifest));
  try {
    // It fails by itself when its time is over.
    for (;;) {
      await sleep(3000);
      const state = await kubectl([
        ...inApp,
        "get",
        "job",
        name,
        "--output=jsonpath={.status.conditions[*].type}",
      ]);
      if (state.includes("Complete")) return;
      if (state.includes("Failed"))
        throw new Error(
          `its migration failed: ${await kubectl([...inApp, "logs", `job/${name}`, "--tail=3"])}`,
        );
    }
  } finally {
    await removeMigration({ kubectl });
  }
}

/** Ends it, where it still runs. */
export async function removeMigration({ kubectl }: Target): Promise<void> {
  await kubectl([...inApp, "delete", "job", name, "--ignore-not-found", "--wait=false"]);
}
