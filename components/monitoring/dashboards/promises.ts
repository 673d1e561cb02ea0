import { graph, stat, type Dashboard } from "./panels.ts";

/** Whether what is lost could be brought back. */
export const backups: Dashboard = {
  name: "backups",
  title: "Backups",
  panels: [
    stat({
      title: "Age of the newest, by kind",
      unit: "s",
      about: "Verify is the last proof that one could be restored",
      queries: { "{{kind}}": "time() - max by (kind) (groundwork_backup_last_success_timestamp_seconds)" },
      emptyWhen: "the stack is younger than its first backup",
    }),
    stat({
      title: "Last verification passed",
      unit: "short",
      queries: { passed: "min(groundwork_backup_last_verification_passed)" },
      emptyWhen: "no backup was verified yet: the first is the day after the stack came up",
    }),
    stat({ title: "Storage answers", unit: "short", queries: { up: "min(groundwork_backup_store_up)" } }),
    stat({
      title: "Past their retention",
      unit: "short",
      about: "Backups that should have been deleted by now",
      queries: { overdue: "max(groundwork_backup_overdue_deletions)" },
      emptyWhen: "the storage deletes what is old by itself",
    }),
    graph({
      title: "Size of the newest, by kind",
      unit: "bytes",
      about: "Encrypted; a sudden fall is a reason to look",
      queries: { "{{kind}}": "max by (kind) (groundwork_backup_last_size_bytes)" },
      emptyWhen: "the stack is younger than its first backup",
    }),
    graph({
      title: "Age over time, by kind",
      unit: "s",
      queries: { "{{kind}}": "time() - max by (kind) (groundwork_backup_last_success_timestamp_seconds)" },
      emptyWhen: "the stack is younger than its first backup",
    }),
  ],
};

/** What was promised, and how much of the allowance for failures is left. */
export const objectives: Dashboard = {
  name: "slo",
  title: "Objectives",
  panels: [
    stat({
      title: "Availability, budget left",
      unit: "percentunit",
      about: "99.5 % over 30 days; below zero the promise is broken",
      queries: { left: "slo:availability:budget_left" },
    }),
    stat({
      title: "Errors, budget left",
      unit: "percentunit",
      about: "Less than 0.1 % of requests fail, over 7 days",
      queries: { left: "slo:errors:budget_left" },
      emptyWhen: "there were no requests yet",
    }),
    stat({
      title: "Response time, budget left",
      unit: "percentunit",
      about: "95 % of requests take less than 500 ms, over 7 days",
      queries: { left: "slo:latency:budget_left" },
      emptyWhen: "there were no requests yet",
    }),
    stat({
      title: "Available now",
      unit: "percentunit",
      about: "Over five minutes, by our own client",
      queries: { available: "1 - probe:unavailable:ratio_5m" },
    }),
    graph({
      title: "Availability, how fast the budget burns",
      unit: "short",
      about: "1 spends it in exactly 30 days; 14.4 wakes someone",
      queries: {
        "5 min": "probe:unavailable:ratio_5m / 0.005",
        "1 h": "probe:unavailable:ratio_1h / 0.005",
        "6 h": "probe:unavailable:ratio_6h / 0.005",
      },
    }),
    graph({
      title: "Errors, how fast the budget burns",
      unit: "short",
      about: "1 spends it in exactly 7 days; 14.4 wakes someone",
      queries: {
        "5 min": "app:request_errors:ratio_rate5m / 0.001",
        "1 h": "app:request_errors:ratio_rate1h / 0.001",
        "6 h": "app:request_errors:ratio_rate6h / 0.001",
      },
      emptyWhen: "there were no requests",
    }),
    graph({
      title: "Response time, how fast the budget burns",
      unit: "short",
      about: "1 spends it in exactly 7 days; 14.4 wakes someone",
      queries: {
        "5 min": "app:slow_requests:ratio_rate5m / 0.05",
        "1 h": "app:slow_requests:ratio_rate1h / 0.05",
        "6 h": "app:slow_requests:ratio_rate6h / 0.05",
      },
      emptyWhen: "there were no requests",
    }),
    graph({
      title: "Budgets over time",
      unit: "percentunit",
      queries: {
        availability: "slo:availability:budget_left",
        errors: "slo:errors:budget_left",
        "response time": "slo:latency:budget_left",
      },
      emptyWhen: "there were no requests yet",
    }),
  ],
};
