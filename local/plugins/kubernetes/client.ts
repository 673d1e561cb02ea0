import http from "node:http";
import https from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import { isObject, listAt, numberAt, textAt, type Json, type JsonObject } from "../common/wire.ts";
import type { Connection } from "./kubeconfig.ts";

/** An answer of the API server other than success. */
export class ApiError extends Error {
  readonly code: number;
  readonly reason: string;
  constructor(code: number, body: Json, fallback: string) {
    super(textAt(body, "message") || fallback);
    this.code = code;
    this.reason = textAt(body, "reason");
  }
}

/** The API server knows no such apiVersion and kind. */
export class NoMatchError extends Error {}

export interface Resource {
  plural: string;
  namespaced: boolean;
}

export interface RequestOptions {
  query?: Record<string, string>;
  body?: Json;
  contentType?: string;
  signal?: AbortSignal;
}

const RETRIED_CODES = new Set([429, 502, 503, 504]);
const RETRIED_ERRORS = new Set(["ECONNREFUSED", "ECONNRESET", "EPIPE", "ETIMEDOUT"]);
const ATTEMPTS = 5;

/** A small API client: kept-alive connections, retries of what is worth retrying, discovery, watches. */
export class Client {
  readonly #connection: Connection;
  readonly #transport: typeof http | typeof https;
  readonly #agent: http.Agent;
  readonly #groups = new Map<string, Promise<Map<string, Resource>>>();

  constructor(connection: Connection) {
    this.#connection = connection;
    const secure = connection.server.startsWith("https:");
    this.#transport = secure ? https : http;
    this.#agent = secure
      ? new https.Agent({
          keepAlive: true,
          ca: connection.certificateAuthority,
          cert: connection.clientCertificate,
          key: connection.clientKey,
          rejectUnauthorized: !connection.skipVerification,
        })
      : new http.Agent({ keepAlive: true });
  }

  async request(method: string, path: string, options: RequestOptions = {}): Promise<JsonObject> {
    for (let attempt = 1; ; attempt++) {
      try {
        const text = await this.#text(method, path, options);
        const parsed: unknown = text ? JSON.parse(text) : {};
        return isObject(parsed) ? parsed : {};
      } catch (error) {
        if (attempt === ATTEMPTS || !isTransient(method, error)) throw error;
        await sleep(200 * 2 ** attempt, undefined, options.signal && { signal: options.signal });
      }
    }
  }

  /** The plain text of an answer, for logs. */
  async text(path: string, query: Record<string, string>): Promise<string> {
    return await this.#text("GET", path, { query });
  }

  async #text(method: string, path: string, options: RequestOptions): Promise<string> {
    const response = await this.#open(method, path, options);
    const chunks: Buffer[] = [];
    for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString("utf8");
    const code = response.statusCode ?? 0;
    if (code >= 200 && code < 300) return text;
    let body: Json = null;
    try {
      body = JSON.parse(text) as Json;
    } catch {
      // Proxies and authentication layers answer with something other than a Status object.
    }
    throw new ApiError(code, body, `${method} ${path}: HTTP ${String(code)} ${text.slice(0, 200)}`);
  }

  async #open(method: string, path: string, options: RequestOptions): Promise<http.IncomingMessage> {
    const query = new URLSearchParams(options.query).toString();
    const url = `${this.#connection.server}${path}${query && `?${query}`}`;
    const payload = options.body === undefined ? undefined : JSON.stringify(options.body);
    const headers: Record<string, string> = {
      accept: "application/json",
      "user-agent": "pulumi-kubernetes-stand-in",
    };
    if (this.#connection.token) headers.authorization = `Bearer ${this.#connection.token}`;
    if (payload !== undefined) {
      headers["content-type"] = options.contentType ?? "application/json";
      headers["content-length"] = String(Buffer.byteLength(payload));
    }
    return await new Promise((resolve, reject) => {
      const { signal } = options;
      const request = this.#transport.request(url, {
        method,
        headers,
        agent: this.#agent,
        ...(signal && { signal }),
      });
      request.once("response", resolve);
      request.once("error", reject);
      request.end(payload);
    });
  }

  /** The resource behind an apiVersion and kind; discovery is read once per group and version. */
  async resource(apiVersion: string, kind: string): Promise<Resource> {
    let group = this.#groups.get(apiVersion);
    if (!group) {
      group = this.#discover(apiVersion);
      this.#groups.set(apiVersion, group);
      group.catch(() => this.#groups.delete(apiVersion));
    }
    const found = (await group).get(kind);
    if (found) return found;
    // A definition may have been installed since.
    this.#groups.delete(apiVersion);
    throw new NoMatchError(`no matches for kind "${kind}" in version "${apiVersion}"`);
  }

  async #discover(apiVersion: string): Promise<Map<string, Resource>> {
    const path = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    const list = await this.request("GET", path).catch((error: unknown) => {
      if (error instanceof ApiError && error.code === 404) return {};
      throw error;
    });
    const resources = new Map<string, Resource>();
    for (const item of listAt(list, "resources")) {
      const plural = textAt(item, "name");
      if (plural.includes("/") || !isObject(item)) continue;
      resources.set(textAt(item, "kind"), { plural, namespaced: item.namespaced === true });
    }
    return resources;
  }

  /** The path of a collection, or of one object in it when a name is given. */
  async path(apiVersion: string, kind: string, namespace: string, name?: string): Promise<string> {
    const { plural, namespaced } = await this.resource(apiVersion, kind);
    const root = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    const scope = namespaced ? `/namespaces/${namespace || "default"}` : "";
    return `${root}${scope}/${plural}${name === undefined ? "" : `/${name}`}`;
  }

  /** Calls back with each state of what a watch selects, until the watch ends (the server ends it in minutes). */
  async watch(
    path: string,
    query: Record<string, string>,
    signal: AbortSignal,
    onEvent: (type: string, object: JsonObject) => void,
  ): Promise<void> {
    const response = await this.#open("GET", path, { query: { ...query, watch: "true" }, signal });
    if (response.statusCode !== 200) {
      response.resume();
      throw new ApiError(
        response.statusCode ?? 0,
        null,
        `watch ${path}: HTTP ${String(response.statusCode)}`,
      );
    }
    let rest = "";
    response.setEncoding("utf8");
    for await (const chunk of response as AsyncIterable<string>) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines.filter(Boolean)) {
        const event: unknown = JSON.parse(line);
        if (!isObject(event) || !isObject(event.object)) continue;
        const type = textAt(event, "type");
        if (type === "ERROR") {
          throw new ApiError(numberAt(event.object, "code") ?? 0, event.object, `watch ${path} failed`);
        }
        onEvent(type, event.object);
      }
    }
  }
}

function isTransient(method: string, error: unknown): boolean {
  if (error instanceof ApiError) return RETRIED_CODES.has(error.code);
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  // A connection lost after a POST may have created the object: asking again would report a false conflict.
  return method === "POST" ? code === "ECONNREFUSED" : RETRIED_ERRORS.has(code);
}
