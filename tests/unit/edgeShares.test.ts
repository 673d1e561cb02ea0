/** Users are split between versions by their session, token or address, and stay where they are. */
import { once } from "node:events";
import * as http from "node:http";
import { Agent } from "node:https";
import type { AddressInfo } from "node:net";

import { afterAll, beforeAll, expect, test } from "vitest";

import { upstreamConf } from "../../components/ingressFiles.ts";
import { generous, setUp, startEdge, tearDown, type Edge } from "./edgeSupport.ts";

const versions = ["stable", "candidate"].map((name) =>
  http.createServer((_, response) => response.end(name)),
);
let edge: Edge;
const agent = new Agent({ keepAlive: true, maxSockets: 10 });
beforeAll(async () => {
  await setUp();
  for (const version of versions) await once(version.listen(0, "127.0.0.1"), "listening");
  const [stable = 0, candidate = 0] = versions.map((version) => (version.address() as AddressInfo).port);
  const shares = [
    { percent: 10, host: "127.0.0.1", port: candidate },
    { percent: 90, host: "127.0.0.1", port: stable },
  ];
  edge = await startEdge({
    limits: { ...generous, connectionsPerAddress: 10_000 },
    upstreams: { apiV1: shares, apiV2: shares, app: shares },
  });
});
afterAll(async () => {
  agent.destroy();
  for (const version of versions) {
    version.closeAllConnections();
    version.close();
  }
  await tearDown();
});

const versionOf = async (headers: Record<string, string>): Promise<string> =>
  (await edge.get("/api/v1/documents", { headers, agent })).body;
const token = (user: number): Record<string, string> => ({ Authorization: `Bearer token-of-${user}` });

test("a tenth of the users gets the new version, each at every request and in every API", async () => {
  const first = await Promise.all(Array.from({ length: 300 }, (_, user) => versionOf(token(user))));
  const moved = first.filter((version) => version === "candidate").length;
  expect(moved).toBeGreaterThan(10);
  expect(moved).toBeLessThan(60);
  const again = await Promise.all(
    first.map(async (_, user) => (await edge.get("/api/v2/jobs", { headers: token(user), agent })).body),
  );
  expect(again).toEqual(first);
});

test("a session counts before the token, which is renewed while the session lasts", async () => {
  const session = (user: number): Record<string, string> => ({ Cookie: `a=b; __Host-session=s${user}; c=d` });
  const bySession = await Promise.all(Array.from({ length: 60 }, (_, user) => versionOf(session(user))));
  const renewed = await Promise.all(
    bySession.map((_, user) => versionOf({ ...session(user), ...token(Math.random()) })),
  );
  expect(renewed).toEqual(bySession);
  expect(new Set(bySession).size).toBe(2);
});

test("percentages that do not make a whole are refused", () => {
  const share = { percent: 60, host: "app", port: 80 };
  expect(() => upstreamConf("app", [share, share])).toThrow(/120; it must be "?100/);
});
