/** A way to the edge for programs that scan: plain HTTP on this machine, signed in or not, each request from another address. */
import { randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { Agent, request } from "node:https";
import type { AddressInfo } from "node:net";

export interface Way {
  /** Base URL on the loopback interface. */
  readonly url: string;
  /** Answers by status; `none` where the edge gave none. */
  readonly answers: Readonly<Record<string, number>>;
  /** Requests that the service failed at: method, path and status. */
  readonly failures: readonly string[];
  close(): void;
}

/**
 * Goes through the edge by TLS. The edge trusts this machine to name the client, so its limits by address are not met.
 * @param tokenOf - gives a new bearer token; without it nobody is signed in.
 */
export async function openWay(edge: URL, ca: string, tokenOf?: () => Promise<string>): Promise<Way> {
  const token = tokenOf && renewed(tokenOf);
  await token?.();
  const agent = new Agent({ ca, keepAlive: true, maxSockets: 16 });
  const answers: Record<string, number> = {};
  const failures = new Set<string>();
  const pass = async (asked: IncomingMessage, answer: ServerResponse): Promise<void> => {
    const { method = "GET", url: path = "/" } = asked;
    const headers = {
      ...asked.headers,
      host: edge.host,
      "x-forwarded-for": `2001:db8:${randomBytes(2).toString("hex")}:${randomBytes(2).toString("hex")}::1`,
      ...(token && { authorization: `Bearer ${await token()}` }),
    };
    const note = (status: number | "none") => {
      answers[status] = (answers[status] ?? 0) + 1;
      if (status === "none" || status >= 500) failures.add(`${method} ${path}: ${status}`);
    };
    const { hostname, port } = edge;
    // Not as a URL: that would tidy up the path.
    const sent = request({ hostname, port, path, method, headers, agent }, (received) => {
      note(received.statusCode ?? 0);
      answer.writeHead(received.statusCode ?? 502, received.headers);
      received.pipe(answer);
    });
    sent.on("error", () => {
      // One that its own client gave up says nothing of the service.
      if (!asked.destroyed || !answer.destroyed) note("none");
      answer.destroy();
    });
    answer.on("close", () => sent.destroy());
    asked.pipe(sent);
  };
  const server = createServer((asked, answer) => {
    pass(asked, answer).catch((error: unknown) => answer.destroy(error instanceof Error ? error : undefined));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    answers,
    get failures() {
      return [...failures];
    },
    close: () => {
      server.closeAllConnections();
      server.close();
      agent.destroy();
    },
  };
}

/** A token holds for a quarter of an hour, and a scan takes longer. */
function renewed(tokenOf: () => Promise<string>): () => Promise<string> {
  const holdsMilliseconds = 600_000;
  let [token, until] = [tokenOf(), Date.now() + holdsMilliseconds];
  return () => {
    if (Date.now() > until) [token, until] = [tokenOf(), Date.now() + holdsMilliseconds];
    return token;
  };
}
