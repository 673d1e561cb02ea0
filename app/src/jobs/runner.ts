import { setTimeout as sleep } from "node:timers/promises";
import { SpanKind } from "@opentelemetry/api";
import { DelayedError, type Job, UnrecoverableError, WaitingError, Worker } from "bullmq";
import type { Redis } from "ioredis";
import type { Logger } from "pino";
import type { JobsConfig } from "../config/jobVariables.ts";
import { Unanswerable, Unavailable } from "../http/problem.ts";
import { requestContext, runInContext } from "../observability/context.ts";
import { traced } from "../observability/tracing.ts";
import type { Handlers } from "./handlers/handler.ts";
import { JobError, type JobKind, jobKinds, payloads, type WorkOrder } from "./job.ts";
import type { JobMetrics, Outcome } from "./metrics.ts";
import { prefix, type QueuedJob } from "./queues.ts";
import type { JobRepository } from "./repository.ts";
import type { TenantSlots } from "./tenantSlots.ts";

/** A killed worker's jobs begin elsewhere after at most the sum of the two. */
export const stalledAfter = { lockDuration: 10_000, stalledInterval: 5_000 };
/** A job whose worker died under it so often is taken to be the cause. */
const maxStalledCount = 3;
/** A job whose tenant has no slot left comes back after up to twice this, doubled each time. */
const postpone = { firstMs: 1000, longestMs: 15_000 };
/** For jobs that go on after their signal: longer, and they are left to be found stalled. */
export const handBackSeconds = 3;

const timedOut = new JobError("stopped at the queue's time limit");
const shuttingDown = new Error("the worker is shutting down");

/** An attempt that failed and was told of, for the queue to try again. */
class AttemptFailed extends Error {}

export interface RunnerArgs {
  connection: Redis;
  config: JobsConfig;
  repository: JobRepository;
  slots: TenantSlots;
  handlers: Handlers;
  metrics: JobMetrics;
  logger: Logger;
}

/** Takes jobs from the queues and does them, each in its tenant's context. */
export class Runner {
  readonly #args: RunnerArgs;
  readonly #log: Logger;
  readonly #workers: Worker<QueuedJob>[];
  readonly #stop = new AbortController();

  constructor(args: RunnerArgs) {
    this.#args = args;
    this.#log = args.logger.child({ module: "jobs" });
    this.#workers = jobKinds.map((kind) => this.#start(kind));
  }

  /** Finishes the jobs in hand, hands back those that take longer than the grace period. */
  async close(): Promise<void> {
    const closed = Promise.all(this.#workers.map((worker) => worker.close()));
    await Promise.race([closed, sleep(this.#args.config.graceSeconds * 1000)]);
    this.#stop.abort(shuttingDown);
    await Promise.race([closed, sleep(handBackSeconds * 1000)]);
  }

  #start(kind: JobKind): Worker<QueuedJob> {
    const worker = new Worker<QueuedJob>(kind, (job, token) => this.#run(kind, job, token), {
      connection: this.#args.connection,
      prefix,
      concurrency: this.#args.config.limits[kind].concurrency,
      maxStalledCount,
      ...stalledAfter,
    });
    worker.on("error", (error) => {
      this.#log.debug({ error, queue: kind }, "queue error");
    });
    worker.on("failed", (job, error) => {
      if (job?.id === undefined) {
        return;
      }
      const context = { ...requestContext(undefined, undefined), tenantId: job.data.tenantId, jobId: job.id };
      runInContext(context, () => {
        if (job.deferredFailure) {
          this.#bury(kind, context, error);
        } else if (!(error instanceof AttemptFailed || error instanceof UnrecoverableError)) {
          this.#args.metrics.notBegun(kind);
          this.#log.warn({ error, queue: kind }, "job failed outside of an attempt, it comes round again");
        }
      });
    });
    return worker;
  }

  async #run(kind: JobKind, job: Job<QueuedJob>, token: string | undefined): Promise<void> {
    const { tenantId } = job.data;
    const { id = "", timestamp } = job;
    const { perTenant } = this.#args.config.limits[kind];
    // Before Postgres is asked: a tenant's backlog comes by here again and again.
    const release = await this.#args.slots.take(kind, tenantId, { id, timestamp }, perTenant);
    if (!release) {
      this.#args.metrics.postponed(kind);
      await job.moveToDelayed(Date.now() + postponeMs(job.attemptsStarted - job.attemptsMade - 1), token);
      throw new DelayedError();
    }
    try {
      await this.#begin(kind, tenantId, id, async () => {
        await job.moveToWait(token);
        throw new WaitingError();
      });
    } finally {
      await release();
    }
  }

  async #begin(kind: JobKind, tenantId: string, id: string, handBack: () => Promise<never>): Promise<void> {
    const order = await this.#args.repository.workOrder(tenantId, id);
    const context = {
      ...requestContext(order?.requestId ?? undefined, order?.traceparent ?? undefined),
      tenantId,
      jobId: id,
    };
    await runInContext(context, async () => {
      if (!order || order.kind !== kind || order.state === "done" || order.state === "dead") {
        this.#log.info({ queue: kind, state: order?.state }, "job skipped: there is nothing to be done");
        return;
      }
      await this.#attempt(order, handBack);
    });
  }

  async #attempt(order: WorkOrder, handBack: () => Promise<never>): Promise<void> {
    const { kind } = order;
    const { metrics } = this.#args;
    const start = performance.now();
    const limit = new AbortController();
    const timer = setTimeout(() => {
      metrics.overdue(kind, 1);
      this.#log.warn({ queue: kind }, "job runs beyond its time limit");
      limit.abort(timedOut);
    }, this.#args.config.limits[kind].timeLimitSeconds * 1000);
    const ended = (outcome: Outcome, error?: unknown) => {
      const seconds = (performance.now() - start) / 1000;
      metrics.attempted(kind, outcome, seconds);
      this.#log[outcome === "done" ? "info" : "warn"](
        {
          queue: kind,
          outcome,
          duration_ms: Math.round(seconds * 1000),
          ...(error !== undefined && { error }),
        },
        "job ended",
      );
    };
    try {
      const signal = AbortSignal.any([limit.signal, this.#stop.signal]);
      await traced(
        `job ${kind}`,
        {
          kind: SpanKind.CONSUMER,
          attributes: { "messaging.destination.name": kind },
          traceparent: order.traceparent,
        },
        () => this.#work(order, signal),
      );
      ended("done");
    } catch (error) {
      if (this.#stop.signal.aborted && !limit.signal.aborted) {
        ended("handed_back");
        return await handBack();
      }
      const state = await this.#recordFailure(order, limit.signal.aborted ? timedOut : error);
      ended(state === "dead" ? "dead" : limit.signal.aborted ? "overdue" : "failed", error);
      throw state === "dead" ? new UnrecoverableError("dead letter") : new AttemptFailed(reasonOf(error));
    } finally {
      clearTimeout(timer);
      if (limit.signal.aborted) {
        metrics.overdue(kind, -1);
      }
    }
  }

  async #work({ id, tenantId, kind, payload }: WorkOrder, signal: AbortSignal): Promise<void> {
    const parsed = payloads[kind].safeParse(await payload());
    if (!parsed.success) {
      throw new JobError("the job's payload is not one of its kind", { final: true });
    }
    const work = await this.#args.handlers[kind](tenantId, parsed.data as never, signal);
    const result = await this.#args.repository.finish(tenantId, id, work.effect);
    if (result === undefined) {
      this.#log.info({ queue: kind }, "job was done elsewhere meanwhile, its effect is not recorded again");
    } else {
      work.recorded?.();
    }
  }

  /** @returns the job's state afterwards; undefined when it cannot be recorded: then the attempt does not count. */
  async #recordFailure({ tenantId, id }: WorkOrder, error: unknown): Promise<WorkOrder["state"] | undefined> {
    const final = error instanceof Unanswerable || (error instanceof JobError && error.final);
    const most = final ? 1 : this.#args.config.retries + 1;
    try {
      return await this.#args.repository.fail(tenantId, id, reasonOf(error), most);
    } catch (failure) {
      this.#log.warn({ error: failure }, "failed attempt not recorded");
      return undefined;
    }
  }

  #bury(kind: JobKind, { tenantId, jobId }: { tenantId: string; jobId: string }, error: Error): void {
    this.#log.error({ error, queue: kind }, "job given up: its workers died under it");
    this.#args.metrics.attempted(kind, "dead", 0);
    // Should Postgres be away now, the sweeper hands the job over again and this comes round again.
    this.#args.repository.fail(tenantId, jobId, "its workers died under it", 1).catch((failure: unknown) => {
      this.#log.warn({ error: failure }, "dead letter not recorded yet");
    });
  }
}

function postponeMs(postponements: number): number {
  const { firstMs, longestMs } = postpone;
  return Math.min(longestMs, firstMs * 2 ** postponements) * (1 + Math.random());
}

/** What the tenant may read; anything unforeseen is in the log only. */
function reasonOf(error: unknown): string {
  if (error instanceof JobError) {
    return error.message;
  }
  return error instanceof Unavailable || error instanceof Unanswerable
    ? error.reason
    : "unexpected error, logged under this job's id";
}
