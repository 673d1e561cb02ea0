import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";
import { within } from "../deadline.ts";

const knowledgeReuseMs = 30_000;
import { ActiveUsers } from "./activeUsers.ts";

/** What the pool of Postgres connections is doing. */
export interface PoolUse {
  inUse: number;
  idle: number;
  waiting: number;
}

/** The service's metrics. Labels take few values: route templates, never paths or ids. */
export class Metrics {
  readonly registry = new Registry();
  readonly #requests = new Counter({
    name: "app_requests_total",
    help: "Requests answered, by route template and status",
    labelNames: ["method", "endpoint", "status"],
    registers: [this.registry],
  });
  readonly #errors = new Counter({
    name: "app_errors_total",
    help: "Requests answered with a status of 500 or above, or given up on by the edge (504)",
    labelNames: ["method", "endpoint"],
    registers: [this.registry],
  });
  readonly #responseTime = new Histogram({
    name: "app_response_time_seconds",
    help: "Time from a request's arrival to the end of its answer",
    labelNames: ["method", "endpoint"],
    // 0.5, 1 and 5 s are what the alerts and the objectives ask about.
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [this.registry],
  });
  readonly #cache = new Counter({
    name: "app_cache_requests_total",
    help: "Look-ups in the cache, by family and result (hit, miss, error)",
    labelNames: ["family", "result"],
    registers: [this.registry],
  });
  readonly #signIns = new Counter({
    name: "app_sign_ins_total",
    help: "Attempts to sign in, by result (success, failure, limited, error)",
    labelNames: ["result"],
    registers: [this.registry],
  });
  readonly #refusals = new Counter({
    name: "app_refusals_total",
    help: "Requests refused with 401 or 403, by reason",
    labelNames: ["reason"],
    registers: [this.registry],
  });
  readonly #tokenReuse = new Counter({
    name: "app_token_reuse_total",
    help: "Refresh tokens that came a second time: copied, or their answer was lost",
    registers: [this.registry],
  });
  readonly #search = new Histogram({
    name: "app_search_seconds",
    help: "Time a full-text search took in Postgres",
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    registers: [this.registry],
  });
  readonly #queries = new Counter({
    name: "app_database_queries_total",
    help: "Statements sent to Postgres, by outcome (success, failure)",
    labelNames: ["outcome"],
    registers: [this.registry],
  });
  readonly #aiRequests = new Counter({
    name: "app_ai_requests_total",
    help: "Attempts at external APIs, by provider and outcome (ok, timeout, rate_limited, ...)",
    labelNames: ["provider", "outcome"],
    registers: [this.registry],
  });
  readonly #aiLimits = new Gauge({
    name: "app_ai_limit_seconds",
    help: "Configured limits of external APIs: silence of one attempt (timeout), all attempts together (deadline)",
    labelNames: ["provider", "limit"],
    registers: [this.registry],
  });
  readonly #aiRetries = new Gauge({
    name: "app_ai_max_retries",
    help: "Configured number of times an external API is asked again",
    labelNames: ["provider"],
    registers: [this.registry],
  });
  readonly #aiCircuit = new Gauge({
    name: "app_ai_circuit_open",
    help: "Whether an external API is left alone after failing again and again (1) or asked (0)",
    labelNames: ["provider"],
    registers: [this.registry],
  });
  readonly #chats = new Counter({
    name: "app_chats_total",
    help: "Questions answered, by outcome (ok, cached, degraded, unanswerable, cancelled, error)",
    labelNames: ["outcome"],
    registers: [this.registry],
  });
  readonly #feedback = new Counter({
    name: "app_feedback_total",
    help: "Answers judged by their readers (up, down)",
    labelNames: ["value"],
    registers: [this.registry],
  });
  readonly #streams = new Gauge({
    name: "app_active_streams",
    help: "Streams open now, by transport (sse, websocket)",
    labelNames: ["transport"],
    registers: [this.registry],
  });
  readonly #streamDuration = new Histogram({
    name: "app_stream_duration_seconds",
    help: "Time from a stream's beginning to its end",
    labelNames: ["transport"],
    buckets: [0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600],
    registers: [this.registry],
  });
  readonly #users = new ActiveUsers();
  constructor() {
    const users = this.#users;
    new Gauge({
      name: "app_active_users",
      help: "Different users seen by this replica in the last 5 minutes, counted up to 100,000",
      registers: [this.registry],
      collect() {
        this.set(users.count());
      },
    });
    collectDefaultMetrics({ register: this.registry });
  }

  requestAnswered(method: string, endpoint: string, status: number, seconds: number): void {
    this.#requests.inc({ method, endpoint, status: String(status) });
    this.#responseTime.observe({ method, endpoint }, seconds);
    // By 0 as well: a series that begins with its first errors shows no increase by them.
    this.#errors.inc({ method, endpoint }, status >= 500 ? 1 : 0);
  }

  cacheLookedUp(family: string, result: "hit" | "miss" | "error"): void {
    this.#cache.inc({ family, result });
  }

  signedIn(result: "success" | "failure" | "limited" | "error"): void {
    this.#signIns.inc({ result });
  }

  refused(reason: string): void {
    this.#refusals.inc({ reason });
  }

  tokenReused(): void {
    this.#tokenReuse.inc();
  }

  queryDone(outcome: "success" | "failure"): void {
    this.#queries.inc({ outcome });
  }

  /** Runs the search and keeps the time of those that succeed. */
  async searched<T>(search: () => Promise<T>): Promise<T> {
    const end = this.#search.startTimer();
    const found = await search();
    end();
    return found;
  }

  /** The number of documents, asked for at most every 30 s; while it is not to be had, the last one stays. */
  watchKnowledge(count: () => Promise<number>): void {
    let next = Number.NEGATIVE_INFINITY;
    new Gauge({
      name: "app_knowledge_total",
      help: "Documents of all tenants; an estimate when they are many",
      registers: [this.registry],
      async collect() {
        if (performance.now() >= next) {
          next = performance.now() + knowledgeReuseMs;
          // A scrape must not wait for a Postgres that is gone.
          await within(1000, count()).then(
            (documents) => {
              this.set(documents);
            },
            () => undefined,
          );
        }
      },
    });
  }

  userSeen(user: string): void {
    this.#users.seen(user);
  }

  aiRequested(provider: string, outcome: string): void {
    this.#aiRequests.inc({ provider, outcome });
  }

  aiCircuit(provider: string, open: boolean): void {
    this.#aiCircuit.set({ provider }, open ? 1 : 0);
  }

  aiConfigured(provider: string, timeoutSeconds: number, deadlineSeconds: number, maxRetries: number): void {
    this.#aiLimits.set({ provider, limit: "timeout" }, timeoutSeconds);
    this.#aiLimits.set({ provider, limit: "deadline" }, deadlineSeconds);
    this.#aiRetries.set({ provider }, maxRetries);
    this.aiCircuit(provider, false);
  }

  chatEnded(outcome: "ok" | "cached" | "degraded" | "unanswerable" | "cancelled" | "error"): void {
    this.#chats.inc({ outcome });
  }

  feedbackGiven(value: 1 | -1): void {
    this.#feedback.inc({ value: value > 0 ? "up" : "down" });
  }

  /** @returns what to call at the stream's end. */
  streamStarted(transport: "sse" | "websocket"): () => void {
    const end = this.#streamDuration.startTimer({ transport });
    this.#streams.inc({ transport });
    return () => {
      end();
      this.#streams.dec({ transport });
    };
  }

  watchPool(use: () => PoolUse): void {
    new Gauge({
      name: "app_database_pool_connections",
      help: "Postgres connections, in use and idle",
      labelNames: ["state"],
      registers: [this.registry],
      collect() {
        this.set({ state: "in_use" }, use().inUse);
        this.set({ state: "idle" }, use().idle);
      },
    });
    new Gauge({
      name: "app_database_pool_waiting",
      help: "Requests waiting for a Postgres connection",
      registers: [this.registry],
      collect() {
        this.set(use().waiting);
      },
    });
  }
}
