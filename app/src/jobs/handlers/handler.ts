import type { PoolClient } from "pg";
import type { JobKind, Payload } from "../job.ts";

/** What is left once the slow part of a job is over. */
export interface Work {
  /** Writes the outcome, in the transaction that marks the job as done; returns the job's result. */
  effect: (client: PoolClient) => Promise<object>;
  /** Called once that is committed. */
  recorded?: () => void;
}

/**
 * Does the part of a job that takes long, outside of any transaction. It is done at least once, and may be more often (a
 * model that it calls is then paid for again); its effect is recorded exactly once.
 */
export type Handler<K extends JobKind> = (
  tenantId: string,
  payload: Payload<K>,
  signal: AbortSignal,
) => Promise<Work>;

export type Handlers = { [K in JobKind]: Handler<K> };
