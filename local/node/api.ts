/**
 * As much of a Kubernetes client as the node itself needs: JSON requests with a client certificate.
 * The full client library would triple the memory of the resident keeper.
 */
import { readFile } from "node:fs/promises";
import { Agent, request } from "node:https";
import { apiServerUrl } from "./layout.ts";
import { pkiPath } from "./pki.ts";

/** A Kubernetes object as far as everything here looks at it. */
export interface KubernetesObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly labels?: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
  };
}

export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly message?: string;
}

export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;

  constructor(status: number, text: string) {
    super(text);
    this.status = status;
  }
}

export interface Api {
  get<T>(path: string): Promise<T>;
  /** Until the API server ends it: tells of every change of these objects, not of which. */
  watch(path: string, changed: () => void): Promise<void>;
  send<T>(method: "POST" | "PUT" | "DELETE", path: string, body?: unknown): Promise<T>;
  /** Server-side apply: creates or updates, and owns just the fields given. */
  apply(object: KubernetesObject): Promise<void>;
}

const plurals: Readonly<Record<string, string>> = {
  ClusterRole: "clusterroles",
  ClusterRoleBinding: "clusterrolebindings",
  ConfigMap: "configmaps",
  Deployment: "deployments",
  PersistentVolume: "persistentvolumes",
  Service: "services",
  ServiceAccount: "serviceaccounts",
  StorageClass: "storageclasses",
};

/** Speaks as the owner of the named client certificate. */
export async function connect(client: string): Promise<Api> {
  const [ca, cert, key] = await Promise.all(
    ["cluster-ca.crt", `${client}.crt`, `${client}.key`].map((file) => readFile(pkiPath(file))),
  );
  const agent = new Agent({ ca, cert, key, keepAlive: true, maxSockets: 4 });
  const watching = new Agent({ ca, cert, key });
  const json = "application/json";
  return {
    get: <T>(path: string) => call<T>(agent, "GET", path, json),
    watch: (path, changed) => watch(watching, path, changed),
    send: <T>(method: string, path: string, body?: unknown) => call<T>(agent, method, path, json, body),
    apply: async (object) => {
      const path = `${objectPath(object)}?fieldManager=groundwork-node&force=true`;
      await call(agent, "PATCH", path, "application/apply-patch+yaml", object);
    },
  };
}

function watch(agent: Agent, path: string, changed: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const outgoing = request(`${apiServerUrl}${path}?watch=1&timeoutSeconds=300`, { agent }, (response) => {
      response.on("data", changed);
      response.on("error", reject);
      response.on("end", resolve);
    });
    outgoing.on("error", reject);
    outgoing.end();
  });
}

export function objectPath(object: KubernetesObject): string {
  const { apiVersion = "", kind = "" } = object;
  const plural = plurals[kind];
  if (plural === undefined) throw new Error(`no path is known for objects of kind ${kind}`);
  const group = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const { namespace, name } = object.metadata;
  return `${group}${namespace === undefined ? "" : `/namespaces/${namespace}`}/${plural}/${name}`;
}

function call<T>(
  agent: Agent,
  method: string,
  path: string,
  contentType: string,
  body?: unknown,
): Promise<T> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const headers = { "content-type": contentType, accept: "application/json" };
    const outgoing = request(
      `${apiServerUrl}${path}`,
      { agent, method, headers, timeout: 10_000 },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("error", reject);
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () => {
          const answer = Buffer.concat(chunks).toString("utf8");
          const status = response.statusCode ?? 0;
          if (status >= 300)
            reject(new ApiError(status, `${method} ${path}: ${status} ${answer.slice(0, 500)}`));
          else resolve((answer.startsWith("{") ? JSON.parse(answer) : answer) as T);
        });
      },
    );
    outgoing.on("timeout", () => outgoing.destroy(new Error(`${method} ${path}: no answer in 10 s`)));
    outgoing.on("error", reject);
    outgoing.end(text);
  });
}
