/** What Grafana would show: every panel's queries, asked of the running Prometheus. */
import { beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { dashboardFiles } from "../../components/monitoring/dashboards/index.ts";
import { ask, Client, createDocument, removeDocument, tenants, token, waitFor } from "./support.ts";

const panelShape = z.object({
  title: z.string(),
  description: z.string(),
  targets: z.array(z.object({ expr: z.string(), legendFormat: z.string() })),
});
const dashboardShape = z.object({ title: z.string(), panels: z.array(panelShape) });
type Panel = z.infer<typeof panelShape>;

const dashboards = Object.values(dashboardFiles()).map((file) => dashboardShape.parse(JSON.parse(file)));

const answerShape = z.object({
  data: z.object({
    result: z.array(
      z.object({ metric: z.record(z.string(), z.string()), value: z.tuple([z.number(), z.string()]) }),
    ),
  }),
});

const [tenant] = tenants;

/** What a user does, for half a minute, so that there is something to show. */
beforeAll(async () => {
  const client = new Client();
  const editor = await token("editor", tenant);
  for (let round = 0; round < 6; round++) {
    const document = await createDocument(client, tenant);
    for (const path of [`v1/documents/${document.id}`, "v1/documents", "v2/documents?query=test"])
      await client.get(`/api/${path}`, { token: editor });
    await client.get("/api/v1/documents");
    await removeDocument(client, tenant, document);
    await new Promise((resolve) => setTimeout(resolve, 5_000));
  }
});

/** What is wrong with a panel's queries at this moment. */
async function problemsOf({ title, description, targets }: Panel): Promise<string[]> {
  const problems = targets.map(async ({ expr, legendFormat }) => {
    const { data } = answerShape.parse(
      await ask("prometheus", `/api/v1/query?query=${encodeURIComponent(expr)}`),
    );
    const figures = data.result.filter(({ value }) => value[1] !== "NaN");
    if (figures.length === 0)
      return description.includes("May be empty: ") ? [] : [`${title}: no data: ${expr}`];
    const named = [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, label = ""]) => label);
    return named
      .filter((label) => figures.every(({ metric }) => metric[label] === undefined))
      .map((label) => `${title}: no series has the label ${label} of its legend`);
  });
  return (await Promise.all(problems)).flat();
}

test.each(dashboards)("$title: every panel has data, or says why it may have none", async ({ panels }) => {
  await waitFor("data in every panel", 120, async () => {
    const problems: string[] = [];
    for (const panel of panels) problems.push(...(await problemsOf(panel)));
    expect(problems).toEqual([]);
  });
});
