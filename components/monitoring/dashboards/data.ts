import { graph, stat, type Dashboard } from "./panels.ts";

const app = 'datname="app"';

/** Postgres and its members, and the app's way to them. */
export const database: Dashboard = {
  name: "database",
  title: "Database",
  panels: [
    stat({ title: "Members answering", unit: "short", queries: { members: "sum(pg_up)" } }),
    stat({
      title: "Connections, share of what the server accepts",
      unit: "percentunit",
      queries: {
        used: "sum by (instance) (pg_stat_activity_count) / max by (instance) (pg_settings_max_connections)",
      },
    }),
    stat({ title: "Size", unit: "bytes", queries: { app: `max(pg_database_size_bytes{${app}})` } }),
    stat({
      title: "Replica furthest behind",
      unit: "bytes",
      queries: { lag: "max(postgres:replication_lag:bytes)" },
      emptyWhen: "there is one member only",
    }),
    graph({
      title: "Transactions",
      unit: "ops",
      queries: {
        committed: `sum(rate(pg_stat_database_xact_commit{${app}}[5m]))`,
        "rolled back": `sum(rate(pg_stat_database_xact_rollback{${app}}[5m]))`,
      },
    }),
    graph({
      title: "Connections by state",
      unit: "short",
      queries: { "{{state}}": `sum by (state) (pg_stat_activity_count{${app}}) > 0` },
    }),
    graph({
      title: "Statements that take the most time",
      unit: "short",
      about: "Seconds per second, by the id that pg_stat_statements gives them",
      queries: {
        "{{user}} {{queryid}}":
          "topk(8, sum by (user, queryid) (rate(pg_stat_statements_seconds_total[5m])))",
      },
    }),
    graph({
      title: "Longest transaction",
      unit: "s",
      queries: { "{{state}}": `max by (state) (pg_stat_activity_max_tx_duration{${app}})` },
    }),
    graph({
      title: "Pages found in memory",
      unit: "percentunit",
      queries: {
        hits: `sum(rate(pg_stat_database_blks_hit{${app}}[15m])) / (sum(rate(pg_stat_database_blks_hit{${app}}[15m])) + sum(rate(pg_stat_database_blks_read{${app}}[15m])))`,
      },
    }),
    graph({
      title: "Rows",
      unit: "ops",
      queries: {
        read: `sum(rate(pg_stat_database_tup_fetched{${app}}[5m]))`,
        inserted: `sum(rate(pg_stat_database_tup_inserted{${app}}[5m]))`,
        updated: `sum(rate(pg_stat_database_tup_updated{${app}}[5m]))`,
        deleted: `sum(rate(pg_stat_database_tup_deleted{${app}}[5m]))`,
      },
    }),
    graph({
      title: "Locks, and deadlocks per minute",
      unit: "short",
      queries: {
        "{{mode}}": `sum by (mode) (pg_locks_count{${app}}) > 0`,
        deadlocks: `sum(rate(pg_stat_database_deadlocks{${app}}[5m])) * 60`,
      },
    }),
    graph({
      title: "Write-ahead log on disk",
      unit: "bytes",
      queries: { "{{instance}}": "pg_wal_size_bytes" },
    }),
    graph({
      title: "The app's connection pools",
      unit: "short",
      queries: {
        "{{job}} {{state}}": "sum by (job, state) (app_database_pool_connections)",
        "{{job}} waiting": "sum by (job) (app_database_pool_waiting)",
      },
    }),
    graph({
      title: "The app's queries",
      unit: "ops",
      queries: { "{{job}} {{outcome}}": "sum by (job, outcome) (rate(app_database_queries_total[5m]))" },
    }),
  ],
};

/** Both Redis, and the work that waits in one of them. */
export const redisAndQueue: Dashboard = {
  name: "redis-and-queue",
  title: "Redis and queue",
  panels: [
    stat({ title: "Servers answering", unit: "short", queries: { "{{job}}": "sum by (job) (redis_up)" } }),
    stat({
      title: "Jobs waiting",
      unit: "short",
      queries: { jobs: "sum(max by (queue) (app_jobs_waiting))" },
    }),
    stat({
      title: "Jobs that failed for good",
      unit: "short",
      queries: { jobs: "sum(max by (queue) (app_dead_letters))" },
    }),
    stat({
      title: "Oldest work not yet in the queue",
      unit: "s",
      queries: { age: "max(app_outbox_oldest_seconds)" },
    }),
    graph({
      title: "Jobs waiting, by queue",
      unit: "short",
      queries: { "{{queue}}": "max by (queue) (app_jobs_waiting)" },
    }),
    graph({
      title: "Age of the oldest job, by queue",
      unit: "s",
      queries: { "{{queue}}": "max by (queue) (app_job_age_seconds)" },
    }),
    graph({
      title: "Jobs over their time limit",
      unit: "short",
      queries: { "{{queue}}": "sum by (queue) (app_jobs_overdue)" },
    }),
    graph({
      title: "Since the last success of a batch",
      unit: "s",
      queries: { "{{batch}}": "time() - max by (batch) (app_batch_last_success_timestamp_seconds)" },
    }),
    graph({
      title: "Memory, share of the limit",
      unit: "percentunit",
      about: "A full queue refuses jobs, which then wait in Postgres; a full cache drops its oldest",
      queries: { "{{job}}": "max by (job) (redis_memory_used_bytes / (redis_memory_max_bytes > 0))" },
    }),
    graph({
      title: "Keys dropped for room, and expired",
      unit: "ops",
      queries: {
        "{{job}} dropped": "sum by (job) (rate(redis_evicted_keys_total[5m]))",
        "{{job}} expired": "sum by (job) (rate(redis_expired_keys_total[5m]))",
      },
    }),
    graph({
      title: "Commands",
      unit: "ops",
      queries: { "{{job}}": "sum by (job) (rate(redis_commands_processed_total[5m]))" },
    }),
    graph({
      title: "Clients",
      unit: "short",
      queries: {
        "{{job}} connected": "sum by (job) (redis_connected_clients)",
        "{{job}} waiting": "sum by (job) (redis_blocked_clients)",
      },
    }),
  ],
};
