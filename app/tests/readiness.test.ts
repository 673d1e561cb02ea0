import { afterEach, describe, expect, it } from "vitest";
import { listen, type Listener } from "../src/http/listen.ts";
import type { Dependency } from "../src/http/readiness.ts";
import { appWithout } from "./support/app.ts";
import { call } from "./support/service.ts";

const up: Dependency = { check: () => Promise.resolve() };
const down: Dependency = { check: () => Promise.reject(new Error("password is hunter2")) };
const hangs: Dependency = { check: () => new Promise(() => undefined) };

let listener: Listener;
afterEach(() => listener.close(0));

async function serviceWith(dependencies: Record<string, Dependency>) {
  const { app, metrics } = await appWithout({ dependencies });
  listener = await listen(app, 0);
  const url = `http://127.0.0.1:${listener.port}`;
  return { ready: () => call(`${url}/ready`, "GET"), health: () => call(`${url}/health`, "GET"), metrics };
}

describe("readiness", () => {
  it("is kept, with the dependency shown as degraded, when an external API is down", async () => {
    const { ready } = await serviceWith({ postgres: up, "language-model": { ...down, optional: true } });
    expect(await ready()).toMatchObject({
      status: 200,
      body: {
        status: "ready",
        dependencies: { postgres: { state: "up" }, "language-model": { state: "degraded" } },
      },
    });
  });

  it("does not tell the reason to the outside, which may hold an address or worse", async () => {
    const { ready } = await serviceWith({ postgres: down });
    const { status, body } = await ready();
    expect(status).toBe(503);
    expect(JSON.stringify(body)).not.toContain("hunter2");
  });

  it.each([
    ["a needed", false, 503, "down"],
    ["an external", true, 200, "degraded"],
  ])("gives up after 2 s on %s dependency that hangs", async (_kind, optional, status, state) => {
    const { ready, health } = await serviceWith({ postgres: up, slow: { ...hangs, optional } });
    const start = performance.now();
    const asked = ready();
    expect((await health()).status, "health while a dependency hangs").toBe(200);
    const answer = await asked;
    expect(performance.now() - start).toBeLessThan(4000);
    expect(answer).toMatchObject({ status, body: { dependencies: { slow: { state } } } });
    const { latencyMs } = (answer.body as { dependencies: { slow: { latencyMs: number } } }).dependencies
      .slow;
    expect(latencyMs).toBeGreaterThanOrEqual(1990);
  });

  it("and health are not counted as requests", async () => {
    const { ready, health, metrics } = await serviceWith({ postgres: down });
    await Promise.all([ready(), health()]);
    expect(await metrics.registry.metrics()).not.toContain("app_requests_total{");
  });
});
