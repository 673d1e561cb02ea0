import { type JsonObject } from "../common/wire.ts";
import { Client, NoMatchError } from "./client.ts";
import { readConnection, type Connection } from "./kubeconfig.ts";
import { apiVersionOf, hasUnknowns, kindOf, nameOf, namespaceOf } from "./objects.ts";
import type { Settings } from "./settings.ts";

/** The cluster that the provider is set to, connected to on first use. */
export class Cluster {
  readonly settings: Settings;
  #connected: { client: Client; connection: Connection } | undefined;
  #reachable: Promise<boolean> | undefined;

  constructor(settings: Settings) {
    this.settings = settings;
  }

  #connect(): { client: Client; connection: Connection } {
    if (!this.#connected) {
      if (hasUnknowns(this.settings.kubeconfig ?? null)) throw new Error("the kubeconfig is not known yet");
      const connection = readConnection(this.settings.kubeconfig, this.settings.context);
      this.#connected = { client: new Client(connection), connection };
    }
    return this.#connected;
  }

  client(): Client {
    return this.#connect().client;
  }

  /** Whether the API server answers; asked once. */
  isReachable(): Promise<boolean> {
    this.#reachable ??= Promise.resolve()
      .then(() => this.client().request("GET", "/version"))
      .then(
        () => true,
        () => false,
      );
    return this.#reachable;
  }

  /** The namespace of an object that names none; empty for kinds that have no namespace. */
  async defaultNamespace(object: JsonObject): Promise<string> {
    try {
      const { client, connection } = this.#connect();
      const { namespaced } = await client.resource(apiVersionOf(object), kindOf(object));
      return namespaced ? this.settings.namespace || connection.namespace || "default" : "";
    } catch (error) {
      // A kind that a later resource will define, or a cluster that does not exist yet.
      if (error instanceof NoMatchError || !(await this.isReachable())) return this.settings.namespace;
      throw error;
    }
  }

  async pathOf(object: JsonObject): Promise<string> {
    return await this.client().path(
      apiVersionOf(object),
      kindOf(object),
      namespaceOf(object),
      nameOf(object),
    );
  }
}
