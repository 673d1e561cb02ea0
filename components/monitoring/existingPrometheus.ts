import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { labels, serviceHost } from "../podDefaults.ts";
import type { Endpoint, MetricsTarget } from "../types.ts";
import { scoped, stackLabel } from "./promql.ts";
import { expectedPods, ruleGroups, type RuleGroup } from "./rules.ts";
import type { Scrapes } from "./scrapes.ts";

/** A Prometheus that somebody else runs in the cluster, by the Prometheus Operator. */
export interface ExistingPrometheusSettings {
  /** Where its Service is. */
  readonly namespace: string;
  /** Service that answers queries, by http. */
  readonly service: string;
  readonly port: number;
  /** What it selects ScrapeConfigs and PrometheusRules by. */
  readonly labels: Readonly<Record<string, string>>;
}

export interface ExistingPrometheusArgs extends ExistingPrometheusSettings {
  /** Namespace of the objects that it reads. */
  readonly objects: pulumi.Output<string>;
  readonly scrapes: Scrapes;
}

/** ConfigMap that tells the release tooling where to ask; without it, it asks the stack's own Prometheus. */
const sourceName = "existing-prometheus";

/** Whom a release's tooling finds no pods of, and whose absence says nothing. */
const mayBeAbsent: ReadonlySet<string> = new Set(["app-candidate"]);

/**
 * Tells the operator what to scrape and which rules to evaluate. As others' figures are there too, this stack's carry its
 * name as a label, and its rules look at no others.
 */
export class ExistingPrometheus extends pulumi.ComponentResource {
  readonly endpoint: Endpoint;

  constructor(resourceName: string, args: ExistingPrometheusArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:monitoring:ExistingPrometheus", resourceName, {}, opts);
    const { namespace, service, port, objects, scrapes } = args;
    const stack = pulumi.getStack();
    const object = (kind: "ScrapeConfig" | "PrometheusRule", name: string, spec: pulumi.Input<object>) =>
      new k8s.apiextensions.CustomResource(
        `${kind === "ScrapeConfig" ? "scrape" : "rules"}-${name}`,
        {
          apiVersion: `monitoring.coreos.com/${kind === "ScrapeConfig" ? "v1alpha1" : "v1"}`,
          kind,
          metadata: { name, namespace: objects, labels: { ...args.labels, ...labels(name, "metrics") } },
          spec,
        },
        { parent: this },
      );

    for (const target of scrapes.targets) object("ScrapeConfig", target.job, workloadScrape(target, stack));
    for (const { name, url } of scrapes.probes)
      object("ScrapeConfig", `probe-${name}`, {
        ...marked({ job: "probe", probe: name, [stackLabel]: stack }),
        metricsPath: "/probe",
        params: { module: [name], target: [url] },
        staticConfigs: [{ targets: [pulumi.interpolate`${scrapes.prober.host}:${scrapes.prober.port}`] }],
      });
    const { own = [], ...files } = ruleGroups();
    const jobs = scrapes.targets.map(({ job }) => job).filter((job) => !mayBeAbsent.has(job));
    for (const [name, groups] of Object.entries({
      ...files,
      targets: [missingTargets(own, jobs), expectedPods(scrapes.targets)],
    }))
      object("PrometheusRule", name, { groups: groups.map((group) => scopedGroup(group, stack)) });

    new k8s.core.v1.ConfigMap(
      sourceName,
      {
        metadata: { name: sourceName, namespace: objects, labels: labels(sourceName, "metrics") },
        data: { "source.json": JSON.stringify({ namespace, service, port, stack }) },
      },
      { parent: this },
    );
    this.endpoint = { host: serviceHost(service, namespace), port };
    this.registerOutputs({ endpoint: this.endpoint });
  }
}

/** An expression as it must be put to it, to be answered with this stack's figures only. */
export function ofThisStack(expression: string): string {
  return scoped(expression, pulumi.getStack());
}

/** As `prometheus.yml` and its scrapes have it for a Prometheus of the stack's own. */
function workloadScrape({ job, host, port, path, kept }: MetricsTarget, stack: string): object {
  return {
    ...marked({ job, [stackLabel]: stack }),
    metricsPath: path ?? "/metrics",
    dnsSDConfigs: [{ names: [host], type: "A", port, refreshInterval: "15s" }],
    ...(kept !== undefined && {
      metricRelabelings: [{ sourceLabels: ["__name__"], regex: kept, action: "keep" }],
    }),
  };
}

/** How often, and the labels that every series gets. */
function marked(fixed: Readonly<Record<string, string>>): object {
  return {
    scrapeInterval: "15s",
    scrapeTimeout: "10s",
    relabelings: Object.entries(fixed).map(([targetLabel, replacement]) => ({ targetLabel, replacement })),
  };
}

/** The rule's expression asks a Prometheus about itself, which this one may not do: here it is the job that is asked for. */
function missingTargets(own: readonly RuleGroup[], jobs: readonly string[]): RuleGroup {
  const missing = own.flatMap(({ rules }) => rules).find((rule) => rule.alert === "TargetMissing");
  if (!missing) throw new Error("k8s-manifests/prometheus/rules/own.yaml has no alert TargetMissing");
  const rules = jobs.map((job) => ({
    ...missing,
    expr: `label_replace(absent(up{job="${job}"}), "scrape_job", "${job}", "", "")`,
  }));
  return { name: "targets", rules };
}

/** The same rules on this stack's series only, whose results carry its name like them. */
function scopedGroup({ rules, ...group }: RuleGroup, stack: string): RuleGroup {
  return {
    ...group,
    rules: rules.map((rule) => ({
      ...rule,
      expr: scoped(rule.expr, stack),
      labels: { ...rule.labels, [stackLabel]: stack },
    })),
  };
}
