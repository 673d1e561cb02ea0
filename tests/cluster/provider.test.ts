/** The language model's way down and up again, as those see it who ask: stub, dead letter, and done after all. */
import type { ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { askNobody, askStandIn, atLength, itsAnswer, pieceCount, startStandIn } from "./standInModel.ts";
import { Client, kubectl, readyPodsOf, token, waitFor, type Answer } from "./support.ts";

const tenant = `cluster-tests-${randomBytes(4).toString("hex")}`;
const client = new Client();
const running: ChildProcess[] = [];
const jobShape = z.object({ id: z.string(), state: z.string(), result: z.unknown() });
const pageShape = z.object({ items: z.array(z.object({ id: z.string(), error: z.string() })) });
const read = <T extends z.ZodType>(shape: T, { body }: Answer): z.infer<T> => shape.parse(JSON.parse(body));

async function ask(): Promise<string> {
  const message = `What is ${randomBytes(4).toString("hex")}?`;
  const answer = await client.send("POST", "/api/v2/chat", {
    token: await token("editor", tenant),
    body: { message },
  });
  expect(answer.status, answer.body).toBe(200);
  return answer.body;
}

beforeAll(async () => {
  await askStandIn();
}, 300_000);

afterAll(async () => {
  for (const child of running) child.kill();
  await askNobody();
}, 300_000);

test("while it is down a question is answered by the stub, marked as such, and the service stays ready", async () => {
  expect(await ask()).toMatch(/event: done\ndata: .*"degraded":true/);
  await waitFor("readiness", 20, async () => {
    expect((await client.get("/ready")).status).toBe(200);
  });
});

test("a job that it fails becomes a dead letter, and is done when it is sent again and the model is back", async () => {
  const [editor, admin] = [await token("editor", tenant), await token("admin", tenant)];
  const body = { kind: "generate", prompt: "Say hello" };
  const { id } = read(jobShape, await client.send("POST", "/api/v2/jobs", { token: editor, body }));
  const state = async () => read(jobShape, await client.get(`/api/v2/jobs/${id}`, { token: editor }));
  await waitFor("the dead letter", 60, async () => {
    expect((await state()).state).toBe("dead");
  });
  const letters = read(pageShape, await client.get("/api/v2/admin/dead-letters?limit=10", { token: admin }));
  expect(letters.items).toEqual([
    expect.objectContaining({ id, error: expect.stringContaining("language model") as string }),
  ]);

  running.push(...(await startStandIn("worker")));
  const again = await client.send("POST", `/api/v2/admin/dead-letters/${id}/redrive`, { token: admin });
  expect(again.status, again.body).toBe(202);
  await waitFor("the job's end", 60, async () => {
    expect(await state()).toMatchObject({
      state: "done",
      result: { text: itsAnswer, degraded: false },
    });
  });
});

test("once it is back, questions are answered by it again", async () => {
  running.push(...(await startStandIn("app")));
  await waitFor("the provider's own answer", 40, async () => {
    const answer = await ask();
    expect(answer).toContain(itsAnswer);
    expect(answer).toMatch(/event: done\ndata: .*"degraded":false/);
  });
});

test("two hundred answers are streamed at once, each of them whole, and the service stays ready", async () => {
  // No user may ask more than thirty questions a minute.
  const askers: { client: Client; token: string }[] = [];
  for (let number = 1; number <= 10; number += 1)
    askers.push({ client: new Client(), token: await token("editor", `${tenant}-${number}`) });
  const answers = Promise.all(
    Array.from({ length: 200 }, (_, index) => {
      const { client, token } = askers[index % askers.length] as (typeof askers)[number];
      const message = `Say ${atLength} what ${randomBytes(4).toString("hex")} is.`;
      return client.send("POST", "/api/v2/chat", { token, body: { message } });
    }),
  );
  // No answer has ended by then, so that all of them are under way once the last has begun.
  await waitFor("two hundred streams at once", pieceCount - 5, async () => {
    expect(await streams()).toBe(200);
  });
  expect((await client.get("/ready")).status).toBe(200);
  const whole = (await answers).filter(
    ({ status, body }) =>
      status === 200 &&
      body.split("event: delta").length - 1 === pieceCount &&
      /event: done\ndata: .*"degraded":false/.test(body),
  );
  expect(whole).toHaveLength(200);
});

/** As many as the app's pods count together. */
async function streams(): Promise<number> {
  const counts = (await readyPodsOf("app")).map(async ({ metadata }) => {
    const path = `/api/v1/namespaces/app/pods/${metadata?.name ?? ""}:9464/proxy/metrics`;
    const found = /^app_active_streams\{transport="sse"\} (\d+)/m.exec(await kubectl("get", "--raw", path));
    return Number(found?.[1] ?? 0);
  });
  return (await Promise.all(counts)).reduce((total, count) => total + count, 0);
}
