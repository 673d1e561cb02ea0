import type { IncomingHttpHeaders } from "node:http";
import { request, type RequestOptions } from "node:https";
import { ca, edge } from "./support.ts";

export interface Exchange {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Sent again because its kept connection had ended just then, as RFC 9112 (9.3.1) has clients do. */
  readonly sentAgain: boolean;
}

class StaleConnection extends Error {}

/** A request of the edge without a body. @throws with the reason where no whole answer came, one that was cut off included. */
export function exchange(options: RequestOptions): Promise<Exchange> {
  return once(options, false).catch((error: unknown) => {
    if (error instanceof StaleConnection) return once({ ...options, agent: false }, true);
    throw error;
  });
}

function once(options: RequestOptions, sentAgain: boolean): Promise<Exchange> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: edge.hostname, port: edge.port, timeout: 20_000, ca, ...options });
    sent.on("timeout", () => sent.destroy(new Error("no answer within 20 s")));
    sent.on("error", (error: NodeJS.ErrnoException) => {
      reject(sent.reusedSocket && error.code === "ECONNRESET" ? new StaleConnection() : error);
    });
    sent.on("response", (response) => {
      response.resume().on("error", reject);
      response.on("end", () => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, sentAgain });
      });
    });
    sent.end();
  });
}
