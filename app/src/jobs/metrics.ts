import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import type { Batch } from "../config/jobVariables.ts";
import { type JobKind, jobKinds } from "./job.ts";

/** How one attempt at a job ended. `overdue`: given up at the time limit; `dead`: the last attempt failed. */
export type Outcome = "done" | "failed" | "overdue" | "dead" | "postponed" | "handed_back";

/** The worker's metrics. */
export class JobMetrics {
  readonly #outcomes: Counter;
  readonly #duration: Histogram;
  readonly #overdue: Gauge;
  readonly #age: Gauge;
  readonly #waiting: Gauge;
  readonly #deadLetters: Gauge;
  readonly #pending: Gauge;
  readonly #oldest: Gauge;
  readonly #items: Counter;
  readonly #summaries: Counter;
  readonly #batchRuns: Counter;
  readonly #batchSuccess: Gauge;
  readonly #cleanedUp: Counter;

  constructor(registry: Registry) {
    const registers = [registry];
    const gauge = (name: string, help: string, ...labelNames: string[]) =>
      new Gauge({ name, help, labelNames, registers });
    const counter = (name: string, help: string, ...labelNames: string[]) =>
      new Counter({ name, help, labelNames, registers });
    this.#outcomes = counter("app_jobs_total", "Attempts at jobs, by how they ended", "queue", "outcome");
    this.#duration = new Histogram({
      name: "app_job_duration_seconds",
      help: "Time that attempts at jobs took",
      labelNames: ["queue"],
      buckets: [0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 120, 300],
      registers,
    });
    this.#overdue = gauge(
      "app_jobs_overdue",
      "Jobs of this worker that run beyond their time limit now",
      "queue",
    );
    this.#age = gauge("app_job_age_seconds", "Age of the oldest job that no worker has begun", "queue");
    this.#waiting = gauge(
      "app_jobs_waiting",
      "Jobs that any worker could begin; those beyond their tenant's limit are not among them",
      "queue",
    );
    this.#deadLetters = gauge("app_dead_letters", "Jobs given up after their last attempt", "queue");
    this.#pending = gauge("app_outbox_pending", "Jobs that were not handed to the queue yet");
    this.#oldest = gauge("app_outbox_oldest_seconds", "Age of the oldest job not handed to the queue yet");
    this.#items = counter("app_items_collected_total", "Feed items collected that were not known before");
    this.#summaries = counter("app_summaries_total", "Summaries of items made");
    this.#batchRuns = counter("app_batch_runs_total", "Runs of scheduled batches", "batch", "outcome");
    this.#batchSuccess = gauge(
      "app_batch_last_success_timestamp_seconds",
      "When a scheduled batch last succeeded, on any worker",
      "batch",
    );
    this.#cleanedUp = counter("app_rows_cleaned_up_total", "Rows deleted for their age", "table");
    for (const queue of jobKinds) {
      this.#overdue.set({ queue }, 0);
    }
  }

  attempted(queue: JobKind, outcome: Outcome, seconds: number): void {
    this.#outcomes.inc({ queue, outcome });
    this.#duration.observe({ queue }, seconds);
  }

  /** A job that did not begin: it says nothing about how long jobs take. */
  postponed(queue: JobKind): void {
    this.#outcomes.inc({ queue, outcome: "postponed" });
  }

  /** A failure before the handler was reached: it says nothing about how long jobs take either. */
  notBegun(queue: JobKind): void {
    this.#outcomes.inc({ queue, outcome: "failed" });
  }

  overdue(queue: JobKind, change: 1 | -1): void {
    this.#overdue.inc({ queue }, change);
  }

  waiting(queue: JobKind, jobs: number, oldestSeconds: number): void {
    this.#waiting.set({ queue }, jobs);
    this.#age.set({ queue }, oldestSeconds);
  }

  outbox(pending: number, oldestSeconds: number): void {
    this.#pending.set(pending);
    this.#oldest.set(oldestSeconds);
  }

  deadLetters(queue: JobKind, jobs: number): void {
    this.#deadLetters.set({ queue }, jobs);
  }

  itemsCollected(count: number): void {
    this.#items.inc(count);
  }

  summaryMade(): void {
    this.#summaries.inc();
  }

  batchRan(batch: Batch, outcome: "success" | "failure"): void {
    this.#batchRuns.inc({ batch, outcome });
  }

  batchSucceededAt(batch: Batch, at: Date): void {
    this.#batchSuccess.set({ batch }, at.getTime() / 1000);
  }

  cleanedUp(table: string, rows: number): void {
    this.#cleanedUp.inc({ table }, rows);
  }
}
