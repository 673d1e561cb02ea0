/** Users who read their documents through the edge, each with a session of their own, while something else happens. */
import { randomBytes } from "node:crypto";
import { Agent } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import { message } from "../../local/system.ts";
import { exchange } from "../cluster/exchange.ts";
import { ca, tenants, token } from "../cluster/support.ts";
import { versionHeader } from "./versions.ts";

export interface Served {
  /** When it was sent, milliseconds. */
  readonly at: number;
  readonly user: number;
  /** HTTP status; 0: no whole answer came. */
  readonly status: number;
  readonly sentAgain: boolean;
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
      "X-Forwarded-For": `2001:db8:fe1e:${(user + 1).toString(16)}::1`,
      Authorization: `Bearer ${viewer}`,
      Cookie: `__Host-session=${randomBytes(16).toString("hex")}`,
    };
    await sleep(Math.random() * pauseMilliseconds);
    while (!ended.signal.aborted) {
      const at = Date.now();
      served.push({ at, user, ...(await read({ agent, headers })) });
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

async function read(by: { readonly agent: Agent; readonly headers: Record<string, string> }) {
  try {
    const { status, headers, sentAgain } = await exchange({ path: "/api/v1/documents?limit=1", ...by });
    const version = headers[versionHeader];
    return { status, sentAgain, version: typeof version === "string" ? version : undefined };
  } catch (error) {
    process.stdout.write(`a user was not answered: ${message(error)}\n`);
    return { status: 0, sentAgain: false, version: undefined };
  }
}

/** How many of the requests were sent twice. */
export const sentAgain = (served: readonly Served[]): number =>
  served.filter((each) => each.sentAgain).length;
