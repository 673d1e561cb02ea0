import type { JsonObject } from "./wire.ts";

export interface CheckInput {
  urn: string;
  type: string;
  name: string;
  olds: JsonObject;
  news: JsonObject;
  /** Same for the same change, so that a generated name is the same in preview and update. */
  randomSeed: Uint8Array;
}

export interface CheckResult {
  inputs: JsonObject;
  failures?: { property: string; reason: string }[];
}

export type DiffKind = "ADD" | "ADD_REPLACE" | "DELETE" | "DELETE_REPLACE" | "UPDATE" | "UPDATE_REPLACE";

export interface DiffResult {
  changes: boolean;
  replaces: string[];
  deleteBeforeReplace: boolean;
  detailed: Map<string, DiffKind>;
}

export interface ResourceRequest {
  urn: string;
  type: string;
  name: string;
  id: string;
  /** State as last stored; empty on create. */
  olds: JsonObject;
  oldInputs: JsonObject;
  news: JsonObject;
  ignoreChanges: string[];
  /** Seconds from `customTimeouts`; 0 when none is set. */
  timeoutSeconds: number;
  preview: boolean;
}

export interface ResourceState {
  id: string;
  properties: JsonObject;
  inputs?: JsonObject;
}

/** What a provider does, in plain values. */
export interface Provider {
  version: string;
  configure?(args: JsonObject): void | Promise<void>;
  diffConfig?(olds: JsonObject, news: JsonObject): DiffResult;
  check(input: CheckInput): CheckResult | Promise<CheckResult>;
  diff(request: ResourceRequest): DiffResult | Promise<DiffResult>;
  create(request: ResourceRequest): ResourceState | Promise<ResourceState>;
  update(request: ResourceRequest): JsonObject | Promise<JsonObject>;
  /** Undefined when the resource is no more. */
  read(request: ResourceRequest): ResourceState | undefined | Promise<ResourceState | undefined>;
  delete(request: ResourceRequest): void | Promise<void>;
  invoke?(token: string, args: JsonObject): JsonObject;
  cancel?(): void;
}

/** The resource exists, but did not become what was asked for: the engine stores its state and reports why. */
export class InitializationError extends Error {
  readonly state: ResourceState;
  readonly reasons: string[];
  constructor(state: ResourceState, reasons: string[]) {
    super(reasons.join("\n"));
    this.state = state;
    this.reasons = reasons;
  }
}

export const noDiff: DiffResult = {
  changes: false,
  replaces: [],
  deleteBeforeReplace: false,
  detailed: new Map(),
};
