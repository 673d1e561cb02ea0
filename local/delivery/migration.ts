/** The schema is brought to what a new version needs before it starts; the version before must be able to live with it. */
import { z } from "zod";
import { setTimeout as sleep } from "node:timers/promises";
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

/** Runs the stack's own migration with another image, for as long as that may take. @throws what the migration said when it failed. */
export async function migrate({ kubectl }: Target, image: string): Promise<void> {
  const selector = "--selector=app.kubernetes.io/name=app-migrate";
  const { items } = jobsShape.parse(
    JSON.parse(await kubectl([...inApp, "get", "jobs", selector, "--output=json"])),
  );
  const latest = items.sort((a, b) =>
    b.metadata.creationTimestamp.localeCompare(a.metadata.creationTimestamp),
  )[0];
  if (!latest) throw new Error("the stack has no migration to take as a pattern");
  const { activeDeadlineSeconds, template } = latest.spec;
  const { spec } = template;
  const containers = spec.containers.map((container) => ({ ...container, image }));
  const manifest = {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name, namespace: "app" },
    spec: {
      backoffLimit: 0,
      activeDeadlineSeconds,
      template: {
        metadata: { labels: { "app.kubernetes.io/name": "app-migrate" } },
        spec: { ...spec, containers },
      },
    },
  };
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
