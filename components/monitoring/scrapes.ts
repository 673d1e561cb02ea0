import * as pulumi from "@pulumi/pulumi";
import { parse, stringify } from "yaml";

import { manifestFiles } from "../manifests.ts";
import { secretsPath } from "../podDefaults.ts";
import type { StoredSecret } from "../secrets/secretStore.ts";
import type { Endpoint, MetricsTarget } from "../types.ts";
import type { Probe } from "./blackbox.ts";

/** What the other components declare. */
export interface Scrapes {
  /** Every workload that has metrics. */
  readonly targets: readonly MetricsTarget[];
  /** Whom to have ask, and what; each probe is asked at every scrape. */
  readonly prober: Endpoint;
  readonly probes: readonly Probe[];
}

/** A further store that every sample is written to. */
export interface RemoteWrite {
  readonly url: string;
  /** Password of the user, or, without a user, a bearer token; absent when the store asks for nothing. */
  readonly credential?: StoredSecret;
  readonly username?: string;
}

/** File that the credential is mounted as. */
export const remoteWriteFile = "remote-write-credential";

const accountPath = "/var/run/secrets/kubernetes.io/serviceaccount";

/** `prometheus.yml` as it is in the repository, and beside it what to scrape and whom to tell. */
export function prometheusFiles(
  { targets, prober, probes }: Scrapes,
  alertmanagers: readonly Endpoint[],
  remoteWrite?: RemoteWrite,
): pulumi.Output<Record<string, string>> {
  const scrapes = targets.map(({ host, ...rest }) =>
    pulumi.output(host).apply((name) => workloadScrape(name, rest)),
  );
  const receivers = pulumi.all(alertmanagers.map(({ host, port }) => pulumi.interpolate`${host}:${port}`));
  return pulumi
    .all([pulumi.all(scrapes), probeScrape(prober, probes), receivers])
    .apply(([workloads, probe, addresses]): Record<string, string> => ({
      ...configFiles(remoteWrite),
      "scrape-targets.yaml": stringify({ scrape_configs: [...workloads, probe, ...kubeletScrapes] }),
      "alertmanagers.yaml": stringify([{ targets: addresses }]),
    }));
}

/** The repository's own file; a further store cannot stand in a file beside it, as scrapes can. */
function configFiles(remoteWrite?: RemoteWrite): Record<string, string> {
  const files = manifestFiles("prometheus");
  if (!remoteWrite) return files;
  const { url, credential, username } = remoteWrite;
  const path = `${secretsPath}/${remoteWriteFile}`;
  const auth =
    username === undefined
      ? { authorization: { credentials_file: path } }
      : { basic_auth: { username, password_file: path } };
  const written = {
    ...(parse(files["prometheus.yml"] ?? "") as object),
    remote_write: [{ url, ...(credential && auth) }],
  };
  return { ...files, "prometheus.yml": stringify(written) };
}

/** Every pod behind a headless Service is an address of its name, so that all of them are scraped, not a random one. */
function workloadScrape(host: string, { job, port, path, kept }: Omit<MetricsTarget, "host">): object {
  return {
    job_name: job,
    metrics_path: path ?? "/metrics",
    dns_sd_configs: [{ names: [host], type: "A", port, refresh_interval: "15s" }],
    ...(kept !== undefined && { metric_relabel_configs: [keep(kept)] }),
  };
}

/** The prober answers with what it found; labels that begin with `__param_` become its query. */
function probeScrape({ host, port }: Endpoint, probes: readonly Probe[]): pulumi.Output<object> {
  const prober = pulumi.interpolate`${host}:${port}`;
  return pulumi.all([prober, pulumi.all(probes.map(({ url }) => url))]).apply(([address, urls]) => ({
    job_name: "probe",
    metrics_path: "/probe",
    scrape_interval: "15s",
    static_configs: probes.map(({ name }, index) => ({
      targets: [address],
      labels: { probe: name, __param_module: name, __param_target: urls[index] },
    })),
  }));
}

/** Volumes, containers and the nodes themselves; of their thousands of series only what alerts and dashboards read. */
const kubeletScrapes = [
  { job_name: "kubelet", metrics_path: "/metrics", kept: "kubelet_volume_stats_.*|kubelet_running_.*" },
  // By name of pod and container on every node, which cadvisor's are not where its runtime is unknown to it.
  {
    job_name: "resource",
    metrics_path: "/metrics/resource",
    kept: "(container|node)_(cpu_usage_seconds_total|memory_working_set_bytes)|container_start_time_seconds",
  },
  {
    job_name: "cadvisor",
    metrics_path: "/metrics/cadvisor",
    kept:
      "container_(cpu_cfs_throttled_seconds|network_receive_bytes|network_transmit_bytes|oom_events)_total|" +
      "container_(spec_memory_limit|fs_usage|fs_limit)_bytes|machine_.*",
  },
].map(({ kept, ...scrape }) => ({
  ...scrape,
  scheme: "https",
  kubernetes_sd_configs: [{ role: "node" }],
  authorization: { credentials_file: `${accountPath}/token` },
  tls_config: { ca_file: `${accountPath}/ca.crt` },
  // Containers carry the time of their own measurement, which Prometheus would take for old at a restart.
  honor_timestamps: false,
  metric_relabel_configs: [keep(kept)],
}));

function keep(regex: string): object {
  return { source_labels: ["__name__"], regex, action: "keep" };
}
