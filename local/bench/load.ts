/** The load: as much as can be answered, by autocannon; and that of people who read and write, one client each. */
import autocannon from "autocannon";
import { randomInt } from "node:crypto";
import { Agent as HttpAgent, request as httpRequest } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";

export interface Throughput {
  readonly requests: number;
  readonly perSecond: number;
}

interface Saturation {
  readonly url: string;
  readonly paths: readonly string[];
  readonly token: string;
  readonly connections: number;
  readonly limit: { readonly seconds: number } | { readonly requests: number };
}

/** @throws when anything but 200 was answered: a rate of refusals is no throughput. */
export async function saturate({ url, paths, token, connections, limit }: Saturation): Promise<Throughput> {
  const headers = { authorization: `Bearer ${token}` };
  const result = await autocannon({
    url,
    connections,
    ...("seconds" in limit ? { duration: limit.seconds } : { amount: limit.requests }),
    requests: paths.map((path) => ({ method: "GET", path, headers })),
  });
  if (result.non2xx + result.errors + result.timeouts > 0) {
    throw new Error(
      `${url}: ${result.non2xx} refusals, ${result.errors} errors, ${result.timeouts} time-outs`,
    );
  }
  return { requests: result.requests.total, perSecond: result.requests.total / result.duration };
}

interface People {
  readonly url: URL;
  readonly ca?: string;
  readonly clients: number;
  readonly seconds: number;
  /** Of admins, as none but they delete. Each client takes one of them. */
  readonly tokens: readonly string[];
}

export interface Experience {
  readonly requests: number;
  /** How many of each status that is no success; 0 is no answer at all. */
  readonly failures: ReadonlyMap<number, number>;
  readonly p95Ms: number;
}

/**
 * Clients that create a document, read, list and now and then change it, and delete it at last, with 0.1 to 0.3 s
 * between two requests.
 * Each names an address of its own, from the range kept for documentation: the edge limits by address.
 */
export async function people({ url, ca, clients, seconds, tokens }: People): Promise<Experience> {
  const secure = url.protocol === "https:";
  const agent = secure
    ? new HttpsAgent({ ...(ca !== undefined && { ca }), keepAlive: true })
    : new HttpAgent({ keepAlive: true });
  const end = Date.now() + seconds * 1000;
  const latencies: number[] = [];
  const failures = new Map<number, number>();

  const ask = (method: string, path: string, headers: Record<string, string>, body?: string) =>
    new Promise<{ status: number; location: string }>((resolve) => {
      const failed = () => {
        resolve({ status: 0, location: "" });
      };
      const sending = (secure ? httpsRequest : httpRequest)(
        new URL(path, url),
        { method, headers, agent },
        (answer) => {
          answer.resume();
          answer.once("error", failed);
          answer.once("end", () => {
            resolve({ status: answer.statusCode ?? 0, location: answer.headers.location ?? "" });
          });
        },
      );
      sending.setTimeout(10_000, () => sending.destroy());
      sending.once("error", failed);
      sending.end(body);
    });

  const person = async (number: number) => {
    const token = tokens[number % tokens.length] ?? "";
    const headers = {
      Authorization: `Bearer ${token}`,
      "Content-Type": "application/json",
      "X-Forwarded-For": `2001:db8:be:${number.toString(16)}::1`,
    };
    const text = JSON.stringify({ title: `Bench ${number}`, content: "text ".repeat(100) });
    let path = "";
    await sleep(randomInt(300));
    for (let turn = 0; Date.now() < end; turn++) {
      const [method, target, body] =
        path === ""
          ? (["POST", "/api/v1/documents", text] as const)
          : turn % 10 === 5
            ? (["PUT", path, text] as const)
            : turn % 10 === 8
              ? (["GET", "/api/v1/documents?limit=20"] as const)
              : (["GET", path] as const);
      const start = performance.now();
      const { status, location } = await ask(method, target, headers, body);
      latencies.push(performance.now() - start);
      if (status < 200 || status > 299) failures.set(status, (failures.get(status) ?? 0) + 1);
      path = location || path;
      await sleep(100 + randomInt(200));
    }
    if (path !== "") await ask("DELETE", path, headers);
  };
  await Promise.all(Array.from({ length: clients }, (_, number) => person(number)));
  agent.destroy();
  latencies.sort((a, b) => a - b);
  const p95Ms = latencies[Math.floor(latencies.length * 0.95)] ?? Number.NaN;
  return { requests: latencies.length, failures, p95Ms };
}
