import { graph, stat, type Dashboard } from "./panels.ts";

const unnamed = "the kubelet does not know its runtime's containers by name, as on this project's own node";

/** What the machines and the containers on them have left. */
export const systemResources: Dashboard = {
  name: "system-resources",
  title: "System resources",
  panels: [
    stat({
      title: "CPU of all nodes in use",
      unit: "percentunit",
      queries: { cpu: "sum(rate(node_cpu_usage_seconds_total[5m])) / sum(machine_cpu_cores)" },
    }),
    stat({
      title: "Memory of all nodes in use",
      unit: "percentunit",
      queries: { memory: "sum(node_memory_working_set_bytes) / sum(machine_memory_bytes)" },
    }),
    stat({ title: "Pods", unit: "short", queries: { pods: "sum(kubelet_running_pods)" } }),
    stat({
      title: "Killed for their memory",
      unit: "short",
      about: "Within a day",
      queries: { kills: 'sum(increase(container_oom_events_total{id=~".*pod.*/.+"}[1d]))' },
    }),
    // Without a container's name come the sums of whole pods and nodes, from a Prometheus that was there already.
    graph({
      title: "CPU by pod",
      unit: "short",
      about: "Cores",
      queries: {
        "{{namespace}}/{{pod}}":
          'topk(12, sum by (namespace, pod) (rate(container_cpu_usage_seconds_total{container!=""}[5m])))',
      },
    }),
    graph({
      title: "CPU held back",
      unit: "short",
      about: "Seconds per second that a container wanted and its limit forbade",
      queries: {
        "{{pod}}": "sum by (pod) (rate(container_cpu_cfs_throttled_seconds_total[5m])) > 0",
      },
      emptyWhen: "no container has a CPU limit, as none of this stack has",
    }),
    graph({
      title: "Memory by pod",
      unit: "bytes",
      queries: {
        "{{namespace}}/{{pod}}":
          'topk(12, sum by (namespace, pod) (container_memory_working_set_bytes{container!=""}))',
      },
    }),
    graph({
      title: "Memory, share of the limit",
      unit: "percentunit",
      queries: {
        "{{pod}} {{container}}":
          'topk(12, sum by (pod, container) (container_memory_working_set_bytes) / sum by (pod, container) (container_spec_memory_limit_bytes{container!=""} > 0))',
      },
      emptyWhen: unnamed,
    }),
    graph({
      title: "Volumes, share that is free",
      unit: "percentunit",
      queries: { "{{volume}}": "volume:available:ratio" },
    }),
    graph({
      title: "Containers started",
      unit: "short",
      about: "Within an hour; more than a rollout's is a container that restarts again and again",
      queries: {
        "{{namespace}}/{{pod}}": "sum by (namespace, pod) (changes(container_start_time_seconds[1h])) > 0",
      },
      emptyWhen: "nothing restarted within an hour",
    }),
    graph({
      title: "Network in",
      unit: "Bps",
      queries: {
        "{{namespace}}/{{pod}}":
          'topk(12, sum by (namespace, pod) (rate(container_network_receive_bytes_total{pod!=""}[5m])))',
      },
      emptyWhen: unnamed,
    }),
    graph({
      title: "Network out",
      unit: "Bps",
      queries: {
        "{{namespace}}/{{pod}}":
          'topk(12, sum by (namespace, pod) (rate(container_network_transmit_bytes_total{pod!=""}[5m])))',
      },
      emptyWhen: unnamed,
    }),
  ],
};

/** What comes in from outside, and whether a client of our own gets through. */
export const edge: Dashboard = {
  name: "edge",
  title: "Edge",
  panels: [
    stat({
      title: "Usable from outside",
      unit: "short",
      about: "1 while our own client is answered as it should be",
      queries: { "{{probe}}": "min by (probe) (probe_success)" },
    }),
    stat({
      title: "Certificates end in",
      unit: "s",
      about: "ready and refusal are the edge's, the others those inside the cluster",
      queries: { "{{probe}}": "min by (probe) (probe_ssl_earliest_cert_expiry) - time()" },
    }),
    stat({ title: "Pods answering", unit: "short", queries: { edge: "sum(nginx_up)" } }),
    stat({
      title: "Connections open",
      unit: "short",
      queries: { connections: "sum(nginx_connections_active)" },
    }),
    graph({
      title: "Requests",
      unit: "reqps",
      about: "All that nginx counts, refused ones and probes included",
      queries: { requests: "sum(rate(nginx_http_requests_total[5m]))" },
    }),
    graph({
      title: "Connections by what they do",
      unit: "short",
      queries: {
        reading: "sum(nginx_connections_reading)",
        writing: "sum(nginx_connections_writing)",
        waiting: "sum(nginx_connections_waiting)",
      },
    }),
    graph({
      title: "Time of our own client's requests, by step",
      unit: "s",
      queries: { "{{probe}} {{phase}}": "avg by (probe, phase) (probe_http_duration_seconds)" },
    }),
    graph({
      title: "Connections dropped",
      unit: "cps",
      about: "Accepted and not handled: nginx is out of connections",
      queries: { dropped: "sum(rate(nginx_connections_accepted[5m]) - rate(nginx_connections_handled[5m]))" },
    }),
  ],
};
