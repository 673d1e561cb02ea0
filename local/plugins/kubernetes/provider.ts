import type { EngineLog } from "../common/log.ts";
import {
  InitializationError,
  noDiff,
  type CheckInput,
  type CheckResult,
  type DiffKind,
  type DiffResult,
  type Provider,
  type ResourceRequest,
  type ResourceState,
} from "../common/provider.ts";
import {
  isObject,
  isUnknown,
  revealObject,
  textAt,
  withoutNulls,
  without,
  type JsonObject,
} from "../common/wire.ts";
import { NotReadyError, untilGone, untilReady, whyNotReady, type Wait } from "./await/awaiter.ts";
import { ApiError, NoMatchError } from "./client.ts";
import { Cluster } from "./cluster.ts";
import { compare, withoutIgnored } from "./diff.ts";
import { newFieldManager, withName } from "./naming.ts";
import * as objects from "./objects.ts";
import { replacePaths } from "./replaceRules.ts";
import { readSettings } from "./settings.ts";
import { apply, create, isMissingNamespace, patch, relinquish, remove, withIgnoredFields } from "./write.ts";

const CONFIG_THAT_REPLACES = ["kubeconfig", "context", "cluster"];

/** Behaves towards the engine and a cluster as pulumi-kubernetes 4 does (see tests/engine/contract). */
export class KubernetesProvider implements Provider {
  readonly version: string;
  readonly #log: EngineLog;
  readonly #cancel = new AbortController();
  #cluster = new Cluster(readSettings({}));

  constructor(version: string, log: EngineLog) {
    this.version = version;
    this.#log = log;
  }

  configure(args: JsonObject): void {
    this.#cluster = new Cluster(readSettings(revealObject(args)));
  }

  cancel(): void {
    this.#cancel.abort();
  }

  diffConfig(oldArgs: JsonObject, newArgs: JsonObject): DiffResult {
    const [olds, news] = [revealObject(oldArgs), revealObject(newArgs)];
    const keys = [...new Set([...Object.keys(olds), ...Object.keys(news)])];
    const changed = keys.filter((key) => JSON.stringify(olds[key]) !== JSON.stringify(news[key]));
    const identified = olds.clusterIdentifier !== undefined && news.clusterIdentifier !== undefined;
    const identity = identified ? ["clusterIdentifier"] : CONFIG_THAT_REPLACES;
    const replaces = changed.filter((key) => identity.includes(key) && !isUnknown(news[key]));
    const detailed = new Map<string, DiffKind>(
      changed.map((key) => [key, replaces.includes(key) ? "UPDATE_REPLACE" : "UPDATE"]),
    );
    return { changes: changed.length > 0, replaces, deleteBeforeReplace: false, detailed };
  }

  async check(input: CheckInput): Promise<CheckResult> {
    const news = withoutNulls(input.news);
    const { apiVersion, kind } = objects.gvkOfType(input.type);
    let inputs = withName(
      { ...news, apiVersion: news.apiVersion ?? apiVersion, kind: news.kind ?? kind },
      input,
    );
    const metadata = inputs.metadata;
    if (isObject(metadata) && metadata.namespace === undefined) {
      const namespace = await this.#cluster.defaultNamespace(inputs);
      if (namespace) inputs = { ...inputs, metadata: { ...metadata, namespace } };
    }
    return { inputs: objects.copySecrets(inputs, news) };
  }

  diff(request: ResourceRequest): DiffResult {
    const stored = objects.parseCheckpoint(request.olds);
    const wanted = objects.normalize(revealObject(withoutNulls(request.news)));
    const before = objects.pruneObject(stored.live, objects.normalize(stored.inputs));
    const rules = replacePaths(wanted, this.#cluster.settings.mutable);
    const detailed = withoutIgnored(compare(before, wanted, rules), request.ignoreChanges);
    const replaces = [...detailed].filter(([, kind]) => kind.endsWith("_REPLACE")).map(([path]) => path);
    if (detailed.size === 0) return noDiff;
    const sameObject =
      objects.nameOf(wanted) === objects.nameOf(stored.live) &&
      (objects.namespaceOf(wanted) || "default") === (objects.namespaceOf(stored.live) || "default");
    const autonamed = objects.annotation(wanted, objects.AUTONAMED) === "true";
    const deleteBeforeReplace = replaces.length > 0 && sameObject && !autonamed;
    return { changes: true, replaces, deleteBeforeReplace, detailed };
  }

  async create(request: ResourceRequest): Promise<ResourceState> {
    const { news, preview, urn } = request;
    const inputs = revealObject(news);
    const asGiven: ResourceState = { id: "", properties: news };
    if (preview && (objects.hasUnknowns(inputs) || !(await this.#cluster.isReachable()))) return asGiven;
    const fieldManager = objects.annotation(inputs, "pulumi.com/patchFieldManager") || newFieldManager();
    const options = { fieldManager, preview, signal: this.#cancel.signal };
    const client = this.#cluster.client();
    let live: JsonObject;
    try {
      live = objects.isPatch(request.type)
        ? await patch(inputs, client, options)
        : await create(inputs, client, options, (message) => {
            this.#log.status("info", urn, message);
          });
    } catch (error) {
      const harmless =
        error instanceof NoMatchError ||
        isMissingNamespace(error, inputs) ||
        (error instanceof ApiError && (error.code === 403 || error.reason === "AlreadyExists"));
      if (preview && harmless) return asGiven;
      throw rejected(
        `resource ${objects.idOf(inputs)} was not successfully created by the Kubernetes API server`,
        error,
      );
    }
    const state = (object: JsonObject): JsonObject =>
      objects.checkpoint(inputs, object, news, objects.apiVersionOf(inputs), fieldManager);
    if (preview) {
      return { id: "", properties: state(without(live, "status")) };
    }
    return { id: objects.idOf(live), properties: await this.#awaited(request, live, inputs, state) };
  }

  async update(request: ResourceRequest): Promise<JsonObject> {
    const { news, preview } = request;
    let inputs = objects.normalize(revealObject(withoutNulls(news)));
    if (preview && (objects.hasUnknowns(inputs) || !(await this.#cluster.isReachable()))) return news;
    const stored = objects.parseCheckpoint(request.olds);
    const manager = textAt(request.olds, objects.FIELD_MANAGER) || newFieldManager();
    const fieldManager = objects.annotation(inputs, "pulumi.com/patchFieldManager") || manager;
    const client = this.#cluster.client();
    const path = await this.#cluster.pathOf(stored.live);
    if (request.ignoreChanges.length > 0) {
      inputs = withIgnoredFields(inputs, await client.request("GET", path), request.ignoreChanges);
    }
    const apiVersion = textAt(request.olds, objects.INITIAL_API_VERSION) || objects.apiVersionOf(inputs);
    const stateInputs = revealObject(withoutNulls(news));
    const state = (object: JsonObject): JsonObject =>
      objects.checkpoint(stateInputs, object, news, apiVersion, fieldManager);
    let live: JsonObject;
    try {
      live = await apply(inputs, client, { fieldManager, preview, signal: this.#cancel.signal });
    } catch (error) {
      if (preview && error instanceof ApiError && error.code === 403) return news;
      const failure = rejected(`update of resource ${objects.idOf(inputs)} failed`, error);
      if (preview) throw failure;
      const current = await client.request("GET", path).catch(() => stored.live);
      throw new InitializationError({ id: request.id, properties: state(current) }, [failure.message]);
    }
    return preview ? state(live) : await this.#awaited(request, live, inputs, state);
  }

  /** The state once the object is ready; its state and what is wrong with it when it does not become so. */
  async #awaited(
    request: ResourceRequest,
    live: JsonObject,
    inputs: JsonObject,
    state: (object: JsonObject) => JsonObject,
  ): Promise<JsonObject> {
    try {
      return state(await untilReady(live, inputs, this.#wait(request)));
    } catch (error) {
      const last = await this.#cluster
        .client()
        .request("GET", await this.#cluster.pathOf(live))
        .catch(() => live);
      const reasons = error instanceof NotReadyError ? error.reasons : [messageOf(error)];
      throw new InitializationError({ id: objects.idOf(live), properties: state(last) }, reasons);
    }
  }

  async read(request: ResourceRequest): Promise<ResourceState | undefined> {
    const stored = objects.parseCheckpoint(request.olds);
    const oldInputs = objects.normalize(revealObject(request.oldInputs));
    const known = Object.keys(oldInputs).length > 0;
    const { namespace, name } = objects.parseId(request.id);
    const identity = {
      ...objects.gvkOfType(request.type),
      metadata: { name, ...(namespace && { namespace }) },
    };
    const client = this.#cluster.client();
    let live: JsonObject;
    try {
      live = await client.request(
        "GET",
        await this.#cluster.pathOf(known ? { ...oldInputs, ...identity } : identity),
      );
    } catch (error) {
      if (error instanceof NoMatchError || (error instanceof ApiError && error.code === 404))
        return undefined;
      if (!(await this.#cluster.isReachable()) && this.#cluster.settings.deleteUnreachable) return undefined;
      throw error;
    }
    const inputs = known ? objects.pruneObject(live, oldInputs) : objects.normalize(without(live, "status"));
    const secrets = known ? request.oldInputs : inputs;
    const apiVersion = textAt(request.olds, objects.INITIAL_API_VERSION) || objects.apiVersionOf(live);
    const manager = textAt(request.olds, objects.FIELD_MANAGER) || newFieldManager();
    const state: ResourceState = {
      id: request.id,
      properties: objects.checkpoint(inputs, live, secrets, apiVersion, manager),
      inputs: objects.copySecrets(inputs, secrets),
    };
    const reasons = known ? await whyNotReady(live, oldInputs, client) : [];
    if (reasons.length > 0 && Object.keys(stored.live).length > 0)
      throw new InitializationError(state, reasons);
    return state;
  }

  async delete(request: ResourceRequest): Promise<void> {
    const { live, inputs } = objects.parseCheckpoint(request.olds);
    try {
      const path = await this.#cluster.pathOf(live);
      if (objects.isPatch(request.type)) {
        const fieldManager = textAt(request.olds, objects.FIELD_MANAGER);
        const options = { fieldManager, preview: false, signal: this.#cancel.signal };
        await relinquish(live, this.#cluster.client(), options);
      } else if (await remove(path, inputs, this.#cluster.client()))
        await untilGone(path, inputs, this.#wait(request));
    } catch (error) {
      if (error instanceof NoMatchError) return;
      if (this.#cluster.settings.deleteUnreachable && !(await this.#cluster.isReachable())) return;
      throw error;
    }
  }

  #wait(request: ResourceRequest): Wait {
    return {
      client: this.#cluster.client(),
      timeoutSeconds: request.timeoutSeconds,
      signal: this.#cancel.signal,
      report: (severity, message) => {
        this.#log.status(severity, request.urn, message);
      },
    };
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const rejected = (what: string, error: unknown): Error =>
  new Error(`${what}: ${messageOf(error)}`, { cause: error });
