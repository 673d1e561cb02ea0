/** Whether a new version may have more users: what Prometheus and the cluster saw of it, held against the limits. */
import { z } from "zod";
import { scoped } from "../../components/monitoring/promql.ts";
import type { Target } from "./target.ts";

/** As `groundwork:app.release` of the stack's configuration; the stack puts it into the cluster. */
export const settingsShape = z.object({
  stepSeconds: z.number(),
  minimumRequests: z.number(),
  maximumErrorRatio: z.number(),
  maximumP95Milliseconds: z.number(),
  slowerThanStable: z.number(),
});
export type Settings = z.infer<typeof settingsShape>;

/** What the candidate did since the step began. */
export interface Sample {
  /** Answered requests; undefined: Prometheus knows nothing. */
  readonly requests: number | undefined;
  /** Answers of 500 and above. */
  readonly errors: number;
  /** 95th percentiles, seconds; undefined without requests. */
  readonly p95: number | undefined;
  readonly stableP95: number | undefined;
  /** Restarts of its containers, and pods that are not ready. */
  readonly restarts: number;
  readonly unready: number;
}

/** A percentile of few milliseconds is noise: less than this much slower is no reason. */
const toleranceSeconds = 0.05;

/** Why the release must end, or undefined. What needs the whole step, too few requests, is said only when it is `over`. */
export function fault(sample: Sample, settings: Settings, over: boolean): string | undefined {
  const { requests = 0, errors, p95, stableP95, restarts, unready } = sample;
  if (restarts > 0) return `its containers ended ${restarts} time(s)`;
  if (unready > 0) return `${unready} of its pods are not ready`;
  // Against the least number of requests, so that one early error of many requests to come is not a high ratio.
  const enough = Math.max(requests, settings.minimumRequests);
  if (errors > settings.maximumErrorRatio * enough)
    return `${errors} of ${requests} requests failed, more than ${settings.maximumErrorRatio * 100} %`;
  if (requests < settings.minimumRequests) {
    if (!over) return undefined;
    return sample.requests === undefined
      ? "Prometheus has no figures of it"
      : `it answered ${requests} requests, fewer than ${settings.minimumRequests}`;
  }
  if (p95 === undefined) return over ? "Prometheus has no response times of it" : undefined;
  const shown = `${Math.round(p95 * 1000)} ms`;
  if (p95 * 1000 > settings.maximumP95Milliseconds)
    return `its 95th percentile is ${shown}, more than ${settings.maximumP95Milliseconds} ms`;
  if (
    stableP95 !== undefined &&
    p95 > stableP95 * settings.slowerThanStable &&
    p95 > stableP95 + toleranceSeconds
  )
    return `its 95th percentile is ${shown}, that of the version before ${Math.round(stableP95 * 1000)} ms`;
  return undefined;
}

const seriesShape = z.array(
  z.object({ metric: z.record(z.string(), z.string()), value: z.tuple([z.number(), z.string()]) }),
);

export type Series = z.infer<typeof seriesShape>[number];

const existingShape = z.object({
  namespace: z.string(),
  service: z.string(),
  port: z.number(),
  stack: z.string(),
});

/** Seconds since 1970, and how many values in between. */
interface Span {
  readonly from: number;
  readonly to: number;
  readonly steps: number;
}

/** Gives the result of a PromQL expression: now, or over a time. */
type Source = (expression: string, span?: Span) => Promise<unknown>;

const sources = new WeakMap<Target, Promise<Source>>();

/** The stack's own Prometheus, or the one that its ConfigMap names, where others' figures are too. */
async function sourceOf(target: Target): Promise<Source> {
  const path = ["--ignore-not-found", "--output=jsonpath={.data.source\\.json}"];
  const text = await target.kubectl([
    ...["get", "configmap", "existing-prometheus", "--namespace=monitoring"],
    ...path,
  ]);
  return text === "" ? own(target) : another(target, existingShape.parse(JSON.parse(text)));
}

/** From inside its pod: where the API server's requests come from is another matter in each cluster, and no policy lets them in. */
function own({ kubectl }: Target): Source {
  return async (expression, span) => {
    const over = span && [
      `--start=${span.from}`,
      `--end=${span.to}`,
      `--step=${(span.to - span.from) / span.steps}s`,
    ];
    const query = ["query", over ? "range" : "instant", "--format=json", ...(over ?? [])];
    const pod = ["exec", "--namespace=monitoring", "service/prometheus", "--container=prometheus"];
    const command = [...pod, "--", "promtool", ...query, "http://localhost:9090", expression];
    return JSON.parse(await kubectl(command)) as unknown;
  };
}

/** Through the API server, as its pods are not ours to enter. */
function another(
  { kubectl }: Target,
  { namespace, service, port, stack }: z.infer<typeof existingShape>,
): Source {
  return async (expression, span) => {
    const over = span && { start: span.from, end: span.to, step: (span.to - span.from) / span.steps };
    const query = Object.entries({ query: scoped(expression, stack), ...over })
      .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
      .join("&");
    const api = `/api/v1/namespaces/${namespace}/services/${service}:${port}/proxy/api/v1`;
    const answer = await kubectl(["get", "--raw", `${api}/${over ? "query_range" : "query"}?${query}`]);
    return z.object({ data: z.object({ result: z.unknown() }) }).parse(JSON.parse(answer)).data.result;
  };
}

async function resultOf(target: Target, expression: string, span?: Span): Promise<unknown> {
  const source = sources.get(target) ?? sourceOf(target);
  sources.set(target, source);
  return (await source)(expression, span);
}

/** Every series that a PromQL expression gives now. */
export async function askAll(target: Target, expression: string): Promise<Series[]> {
  return seriesShape.parse(await resultOf(target, expression));
}

const coursesShape = z.array(
  z.object({
    metric: z.record(z.string(), z.string()),
    values: z.array(z.tuple([z.number(), z.string()])),
  }),
);

/** The labels of a series, and its values over a time. */
export interface Course {
  readonly labels: Readonly<Record<string, string>>;
  readonly points: readonly { readonly atSeconds: number; readonly value: number }[];
}

/** Every series that a PromQL expression gave over a time. */
export async function askOver(target: Target, expression: string, span: Span): Promise<Course[]> {
  return coursesShape.parse(await resultOf(target, expression, span)).map(({ metric, values }) => ({
    labels: metric,
    points: values.map(([atSeconds, value]) => ({ atSeconds, value: Number(value) })),
  }));
}

/** The one value of a PromQL expression; undefined when there is none. */
export async function ask(target: Target, expression: string): Promise<number | undefined> {
  const [first] = await askAll(target, expression);
  const value = Number(first?.value[1] ?? "NaN");
  return Number.isNaN(value) ? undefined : value;
}

export const requestsOf = (job: string): string => `sum(app_requests_total{job="${job}"})`;
export const errorsOf = (job: string): string => `sum(app_errors_total{job="${job}"})`;
/** Over the last seconds where there are two scrapes of them, else since its process began. */
export const p95Of = (job: string, seconds: number): string =>
  percentile(`rate(app_response_time_seconds_bucket{job="${job}"}[${Math.max(60, Math.round(seconds))}s])`) +
  ` or ${percentile(`app_response_time_seconds_bucket{job="${job}"}`)}`;
const percentile = (buckets: string): string => `histogram_quantile(0.95, sum by (le) (${buckets}))`;
