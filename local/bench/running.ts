/** The dev stack that is up, and the engine that made it. */
import { request as send } from "node:https";
import { currentCluster } from "../cluster.ts";
import { edgeUrl } from "../devSettings.ts";
import { edgeCa } from "../identity.ts";
import { message } from "../system.ts";
import { developmentToken } from "../token.ts";
import { knownEngine, withKubeconfig } from "../up.ts";

export interface RunningStack {
  readonly url: URL;
  readonly ca: string;
  /** Of admins, one for each tenant: limits by tenant are not to be met. */
  readonly tokens: readonly string[];
}

export async function runningStack(): Promise<RunningStack> {
  const tenants = ["bench-1", "bench-2", "bench-3", "bench-4"];
  // One after the other: each is a process in the app's pod, whose memory is for one more, not for four.
  const tokens: string[] = [];
  for (const tenant of tenants) tokens.push(await developmentToken("admin", tenant));
  return { url: new URL(await edgeUrl()), ca: await edgeCa(), tokens };
}

/** The stack, or in one line why there is none. */
export async function stackOrReason(): Promise<RunningStack | string> {
  try {
    return await runningStack();
  } catch (error) {
    return message(error).split("\n")[0] ?? "";
  }
}

/** The engine and the cluster of the last `make up`. */
export async function engineAndCluster() {
  return withKubeconfig({ engine: await knownEngine(), cluster: await currentCluster() });
}

/** Seconds that `work` took. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1000;
}

interface Sent {
  readonly method: string;
  readonly path: string;
  readonly token: string;
  readonly body?: string;
  /** The client that the edge takes it for; without, all requests are one client's. */
  readonly address?: string;
  /** Statuses that are no failure, beside those of success. */
  readonly also?: readonly number[];
}

/** One request through the edge; the `Location` of its answer. @throws when it is no success. */
export function request(
  { url, ca }: Pick<RunningStack, "url" | "ca">,
  { method, path, token, body, address, also = [] }: Sent,
): Promise<string> {
  const headers = {
    Authorization: `Bearer ${token}`,
    "Content-Type": "application/json",
    ...(address !== undefined && { "X-Forwarded-For": address }),
  };
  return new Promise((resolve, reject) => {
    const sending = send(new URL(path, url), { method, ca, headers }, (answer) => {
      const { statusCode = 0 } = answer;
      answer.resume();
      if ((statusCode >= 200 && statusCode < 300) || also.includes(statusCode))
        resolve(answer.headers.location ?? "");
      else reject(new Error(`${method} ${path}: ${statusCode}`));
    });
    sending.once("error", reject);
    sending.end(body);
  });
}
