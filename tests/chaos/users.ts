/** Users who read their documents through the edge, each with a session of their own, while something else happens. */
import { randomBytes } from "node:crypto";
import { Agent, request } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import { ca, edge, tenants, token } from "../cluster/support.ts";
import { versionHeader } from "./versions.ts";

export interface Served {
  /** When it was sent, milliseconds. */
  readonly at: number;
  readonly user: number;
  /** HTTP status; 0: none came. */
  readonly status: number;
  /** The version that answered; undefined: the stack's own. */
  readonly version: string | undefined;
}

const users = 60;
const pauseMilliseconds = 400;

/** Everything that they were answered until `work` was done. */
export async function duringUse<T>(work: (served: readonly Served[]) => Promise<T>): Promise<Served[]> {
  const viewer = await token("viewer", tenants[0]);
  const served: Served[] = [];
  const ended = new AbortController();
  const use = async (_: unknown, user: number): Promise<void> => {
    const agent = new Agent({ ca, keepAlive: true, maxSockets: 1 });
    const headers = {
      "X-Forwarded-For": `2001:db8:fe1e::${(user + 1).toString(16)}`,
      Authorization: `Bearer ${viewer}`,
      Cookie: `__Host-session=${randomBytes(16).toString("hex")}`,
    };
    await sleep(Math.random() * pauseMilliseconds);
    while (!ended.signal.aborted) {
      served.push({ at: Date.now(), user, ...(await once({ agent, headers })) });
      await sleep(pauseMilliseconds);
    }
    agent.destroy();
  };
  const clients = Array.from({ length: users }, use);
  try {
    await work(served);
  } finally {
    ended.abort();
    await Promise.all(clients);
  }
  return served;
}

/** Sent again once where a kept connection had just ended, as RFC 9112 (9.3.1) has clients do. */
async function once(options: {
  readonly agent: Agent | false;
  readonly headers: Record<string, string>;
}): Promise<Pick<Served, "status" | "version">> {
  const { hostname, port } = edge;
  const path = "/api/v1/documents?limit=1";
  return new Promise((resolve) => {
    const sent = request({ hostname, port, path, ca, timeout: 20_000, ...options });
    sent.on("timeout", () => sent.destroy());
    sent.on("error", () => {
      if (sent.reusedSocket) resolve(once({ ...options, agent: false }));
      else resolve({ status: 0, version: undefined });
    });
    sent.on("response", (response) => {
      response.resume().on("error", () => undefined);
      response.on("close", () => {
        const version = response.headers[versionHeader];
        resolve({
          status: response.statusCode ?? 0,
          version: typeof version === "string" ? version : undefined,
        });
      });
    });
    sent.end();
  });
}
