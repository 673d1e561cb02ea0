import type { JsonObject } from "../../common/wire.ts";
import type { Client } from "../client.ts";

/** Where an object stands: ready, on its way (with what is missing), or certain never to become ready. */
export type Readiness =
  | { state: "ready" }
  | { state: "pending"; messages: string[] }
  | { state: "failed"; messages: string[] };

export interface Awaiter {
  /** Seconds to wait when nothing else is asked for. */
  timeoutSeconds: number;
  /** `written` is the object as the write that is waited for returned it: its status may be of what was before. */
  check(live: JsonObject, client: Client, written?: JsonObject): Readiness | Promise<Readiness>;
  /** Whether other objects decide too, so that the object's own changes are not enough to look at. */
  dependsOnOthers?: boolean;
  /** The label selector of the pods whose troubles explain a failure. */
  podSelector?(live: JsonObject): string;
}

export const ready: Readiness = { state: "ready" };
export const pending = (...messages: string[]): Readiness => ({ state: "pending", messages });
export const failed = (...messages: string[]): Readiness => ({ state: "failed", messages });
