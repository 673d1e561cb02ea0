import { graph, stat, type Dashboard } from "./panels.ts";

const noRequests = "there were no requests within the last five minutes";

/** Is it well, and where is it not? The first thing that anybody opens. */
export const applicationOverview: Dashboard = {
  name: "application-overview",
  title: "Application overview",
  panels: [
    stat({
      title: "Errors",
      unit: "percentunit",
      about: "Share of requests that were answered with 5xx, over five minutes",
      queries: { "5xx": "app:request_errors:ratio_rate5m" },
      emptyWhen: noRequests,
    }),
    stat({
      title: "Response time, 95th percentile",
      unit: "s",
      queries: { p95: "app:response_time_seconds:p95_rate5m" },
      emptyWhen: noRequests,
    }),
    stat({
      title: "Pods answering",
      unit: "short",
      queries: { "{{job}}": 'sum by (job) (up{job=~"app|worker"})' },
    }),
    stat({
      title: "Firing alerts",
      unit: "short",
      queries: { alerts: 'count(ALERTS{alertstate="firing", alertname!="Watchdog"}) or vector(0)' },
    }),
    graph({
      title: "Requests by endpoint",
      unit: "reqps",
      queries: { "{{endpoint}}": "endpoint:app_requests:rate5m" },
    }),
    graph({
      title: "Requests by status",
      unit: "reqps",
      queries: { "{{status}}": "sum by (status) (rate(app_requests_total[5m]))" },
    }),
    graph({
      title: "Response time",
      unit: "s",
      queries: {
        p50: "app:response_time_seconds:p50_rate5m",
        p95: "app:response_time_seconds:p95_rate5m",
        p99: "app:response_time_seconds:p99_rate5m",
      },
      emptyWhen: noRequests,
    }),
    graph({
      title: "Slowest endpoints, 95th percentile",
      unit: "s",
      queries: {
        "{{endpoint}}":
          "topk(5, histogram_quantile(0.95, sum by (endpoint, le) (rate(app_response_time_seconds_bucket[5m]))))",
      },
    }),
    graph({
      title: "Errors by endpoint",
      unit: "reqps",
      queries: { "{{endpoint}}": "sum by (endpoint) (rate(app_errors_total[5m]))" },
    }),
    graph({
      title: "Refusals by reason",
      unit: "reqps",
      about: "Requests that were well-formed and not allowed",
      queries: { "{{reason}}": "sum by (reason) (rate(app_refusals_total[5m]))" },
    }),
    graph({
      title: "Sign-ins",
      unit: "ops",
      queries: { "{{result}}": "sum by (result) (rate(app_sign_ins_total[5m]))" },
      emptyWhen: "nobody has signed in since the app's pods started",
    }),
    graph({
      title: "Calls to external AI",
      unit: "reqps",
      queries: { "{{provider}} {{outcome}}": "sum by (provider, outcome) (rate(app_ai_requests_total[5m]))" },
      emptyWhen: "the app has called none since its pods started",
    }),
    graph({
      title: "External AI left alone",
      unit: "short",
      about: "1 while the circuit of a provider is open",
      queries: { "{{provider}}": "max by (provider) (app_ai_circuit_open)" },
      emptyWhen: "no provider is configured",
    }),
    graph({
      title: "Streams under way",
      unit: "short",
      queries: { streams: "sum(app_active_streams)" },
      emptyWhen: "nothing was streamed since the app's pods started",
    }),
    graph({
      title: "Alerts over time",
      unit: "short",
      queries: {
        "{{alertname}} ({{severity}})":
          'count by (alertname, severity) (ALERTS{alertstate="firing", alertname!="Watchdog"})',
      },
      emptyWhen: "all is well",
    }),
  ],
};

/** What the service is for: who uses it, and what comes of it. */
export const business: Dashboard = {
  name: "business",
  title: "Business",
  panels: [
    stat({
      title: "Active users",
      unit: "short",
      about: "Each pod counts its own; a user of two pods counts twice",
      queries: { users: "sum(app_active_users)" },
    }),
    stat({ title: "Documents", unit: "short", queries: { documents: "max(app_knowledge_total)" } }),
    stat({
      title: "Answers liked",
      unit: "percentunit",
      queries: {
        liked:
          '(sum(increase(app_feedback_total{value="up"}[1d])) or vector(0)) / sum(increase(app_feedback_total[1d]))',
      },
      emptyWhen: "nobody has rated an answer within a day",
    }),
    stat({
      title: "Cache hits",
      unit: "percentunit",
      queries: {
        hits: 'sum(increase(app_cache_requests_total{result="hit"}[1h])) / sum(increase(app_cache_requests_total[1h]))',
      },
      emptyWhen: "nothing was asked of the cache within an hour",
    }),
    graph({
      title: "Chats",
      unit: "ops",
      queries: { chats: "sum(rate(app_chats_total[5m]))" },
      emptyWhen: "nobody has chatted since the app's pods started",
    }),
    graph({
      title: "Cache, by family",
      unit: "ops",
      queries: { "{{family}} {{result}}": "sum by (family, result) (rate(app_cache_requests_total[5m]))" },
    }),
    graph({
      title: "Items collected",
      unit: "short",
      about: "Within the hour before",
      queries: { items: "sum(increase(app_items_collected_total[1h]))" },
    }),
    graph({
      title: "Summaries made",
      unit: "short",
      about: "Within the hour before",
      queries: { summaries: "sum(increase(app_summaries_total[1h]))" },
    }),
    graph({
      title: "Search time",
      unit: "s",
      queries: {
        p50: "histogram_quantile(0.5, sum by (le) (rate(app_search_seconds_bucket[1h])))",
        p95: "histogram_quantile(0.95, sum by (le) (rate(app_search_seconds_bucket[1h])))",
      },
    }),
    graph({
      title: "Batches, by outcome",
      unit: "short",
      about: "Runs within the hour before",
      queries: { "{{batch}} {{outcome}}": "sum by (batch, outcome) (increase(app_batch_runs_total[1h]))" },
    }),
  ],
};
