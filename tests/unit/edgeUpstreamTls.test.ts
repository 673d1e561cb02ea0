/** The way from the edge to the app, with real nginx: encrypted, and only to the app itself. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";

import {
  appCertificate,
  appName,
  folder,
  generous,
  makeCertificate,
  seenByApp,
  serveAppBy,
  setUp,
  startEdge,
  tearDown,
  tlsAppPort,
  type Edge,
} from "./edgeSupport.ts";

beforeAll(setUp);
beforeEach(() => {
  serveAppBy(appCertificate);
});
afterAll(tearDown);

/** An edge that takes an app for itself when it proves this name by this authority. */
function edgeThatChecks(caFile = appCertificate, name = appName, port = tlsAppPort): Promise<Edge> {
  const upstream = [{ percent: 100, host: "127.0.0.1", port }];
  return startEdge({
    limits: { ...generous, connectionsPerAddress: 10_000 },
    upstreams: { apiV1: upstream, apiV2: upstream, app: upstream },
    upstreamTls: { name, caFile },
  });
}

test("an app that proves its name is asked as before, streams among it", async () => {
  const edge = await edgeThatChecks();
  const answer = await edge.get("/api/v1/documents?limit=1");
  expect(answer.status).toBe(200);
  expect(seenByApp(answer)["x-forwarded-proto"]).toBe("https");
  expect(JSON.parse(answer.body)).toMatchObject({ url: "/api/v1/documents?limit=1" });
  expect((await edge.get("/api/v2/chat/events")).body).toBe("data: first\n\ndata: last\n\n");
  expect((await edge.get("/api/health")).status).toBe(200);
});

test("an app of another name or of another authority is sent nothing", async () => {
  const other = join(folder, "other.pem");
  makeCertificate(other, [appName]);
  expect((await (await edgeThatChecks(other)).get("/api/v1/documents")).status).toBe(502);
  const another = await edgeThatChecks(appCertificate, "app.elsewhere.svc.cluster.local");
  expect((await another.get("/api/v1/documents")).status).toBe(502);
});

// Its own waits are four and a half seconds, of the five that a test has otherwise.
test(
  "no request fails while the app's certificate changes and the authority with it",
  { timeout: 20_000 },
  async () => {
    const next = join(folder, "next.pem");
    makeCertificate(next, [appName]);
    const authorities = join(folder, "authorities.pem");
    writeFileSync(authorities, readFileSync(appCertificate));
    const edge = await edgeThatChecks(authorities);
    const ended = new AbortController();
    const statuses: (number | string)[] = [];
    const clients = Array.from({ length: 4 }, async () => {
      while (!ended.signal.aborted) {
        const outcome = await edge.get("/api/v1/documents").catch(String);
        statuses.push(typeof outcome === "string" ? outcome : outcome.status);
      }
    });

    // Both authorities first, then the certificate: the order of docs/data.md.
    writeFileSync(authorities, Buffer.concat([readFileSync(appCertificate), readFileSync(next)]));
    const reloaded = (): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, 1_500));
    await reloaded();
    serveAppBy(next);
    await reloaded();
    writeFileSync(authorities, readFileSync(next));
    await reloaded();
    ended.abort();
    await Promise.all(clients);
    expect(statuses.length).toBeGreaterThan(50);
    expect(statuses.filter((status) => status !== 200)).toEqual([]);
    expect((await edge.get("/api/v1/documents")).status).toBe(200);
  },
);
