import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";

import { allowOneEviction } from "./disruption.ts";
import { scrapedPods } from "./metricsService.ts";
import { labels, selector, serviceHost } from "./podDefaults.ts";
import type { MetricsTarget, Share } from "./types.ts";

/** What `make release` asks of a new version before it gets more users. */
export const releaseSchema = z
  .strictObject({
    stepSeconds: z
      .int()
      .min(10)
      .max(86_400)
      .default(300)
      .describe("time at 10, at 50 and at 100 % of the users, seconds each"),
    minimumRequests: z
      .int()
      .min(1)
      .max(10_000_000)
      .default(500)
      .describe("requests that a new version must have answered in each step; fewer end the release"),
    maximumErrorRatio: z
      .number()
      .min(0)
      .max(1)
      .default(0.001)
      .describe("share of server errors above which a release ends"),
    maximumP95Milliseconds: z
      .int()
      .min(1)
      .max(60_000)
      .default(500)
      .describe("95th percentile of response times above which a release ends, milliseconds"),
    slowerThanStable: z
      .number()
      .min(1)
      .max(100)
      .default(1.5)
      .describe("a release ends when it is so many times slower than the version before, and 50 ms at least"),
  })
  .prefault({});

export type ReleaseSettings = z.output<typeof releaseSchema>;

export interface ReleaseTrafficArgs {
  /** Namespace of the app. */
  readonly namespace: pulumi.Output<string>;
  /** Name of the app's workload; a new version runs beside it under the same name with `-candidate`. */
  readonly app: string;
  /** Named port of the pods, and the Services' before it. */
  readonly api: { readonly name: string; readonly port: number };
  /** Port of the pods' metrics. */
  readonly metricsPort: number;
  readonly settings: ReleaseSettings;
}

/** One after the other they make 10, 50 and 100 %. */
const percentages = [10, 40, 50] as const;

/**
 * What a release moves users with: a Service for each share of them. Which version a Service selects belongs to the release
 * tooling, and so does the new version's Deployment; all else is the stack's, so that a preview during a release shows only
 * what was meant to change.
 */
export class ReleaseTraffic extends pulumi.ComponentResource {
  /** Where the edge sends requests. */
  readonly shares: readonly Share[];
  /** The new version, while there is one. */
  readonly metrics: MetricsTarget;

  constructor(name: string, args: ReleaseTrafficArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:app:ReleaseTraffic", name, {}, opts);
    const { namespace, app, api, metricsPort } = args;
    const candidate = `${app}-candidate`;
    const child = { parent: this };
    const metadata = (objectName: string, of: string) => ({
      name: objectName,
      namespace,
      labels: labels(of, "api"),
    });
    this.shares = percentages.map((percent) => {
      const service = new k8s.core.v1.Service(
        `${app}-share-${percent}`,
        {
          metadata: {
            ...metadata(`${app}-share-${percent}`, app),
            // The app's Deployment is waited for; the edge needs no more than the name to start beside it.
            annotations: { "pulumi.com/skipAwait": "true" },
          },
          spec: { selector: selector(app), ports: [{ ...api, targetPort: api.name }] },
        },
        { ...child, ignoreChanges: ["spec.selector"] },
      );
      return { percent, host: serviceHost(service.metadata.name, namespace), port: api.port };
    });
    this.metrics = scrapedPods(
      this,
      {
        ...metadata(candidate, candidate),
        // It has pods only while there is a new version.
        annotations: { "pulumi.com/skipAwait": "true" },
      },
      { service: `${candidate}-metrics`, port: metricsPort },
    );
    allowOneEviction(this, metadata(candidate, candidate));
    new k8s.core.v1.ConfigMap(
      `${app}-release-settings`,
      {
        metadata: metadata(`${app}-release-settings`, app),
        data: { "settings.json": JSON.stringify(args.settings) },
      },
      child,
    );
    this.registerOutputs({});
  }
}
