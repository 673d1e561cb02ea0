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

const answerShape = z.object({
  data: z.object({
    result: z.array(
      z.object({ metric: z.record(z.string(), z.string()), value: z.tuple([z.number(), z.string()]) }),
    ),
  }),
});

export type Series = z.infer<typeof answerShape>["data"]["result"][number];

const existingShape = z.object({
  namespace: z.string(),
  service: z.string(),
  port: z.number(),
  stack: z.string(),
});

/** Where to ask, and an expression as it must be put there. */
interface Source {
  readonly service: string;
  readonly asked: (expression: string) => string;
}

const sources = new WeakMap<Target, Promise<Source>>();

/** The stack's own Prometheus, or the one that its ConfigMap names, where others' figures are too. */
async function sourceOf({ kubectl }: Target): Promise<Source> {
  const path = ["--ignore-not-found", "--output=jsonpath={.data.source\\.json}"];
  const text = await kubectl(["get", "configmap", "existing-prometheus", "--namespace=monitoring", ...path]);
  if (text === "")
    return { service: "monitoring/services/prometheus:http", asked: (expression) => expression };
  const { namespace, service, port, stack } = existingShape.parse(JSON.parse(text));
  return {
    service: `${namespace}/services/${service}:${port}`,
    asked: (expression) => scoped(expression, stack),
  };
}

/** Every series that a PromQL expression gives now. */
export async function askAll(target: Target, expression: string): Promise<Series[]> {
  return answerShape.parse(await answerOf(target, "query", expression)).data.result;
}

const coursesShape = z.object({
  data: z.object({
    result: z.array(
      z.object({
        metric: z.record(z.string(), z.string()),
        values: z.array(z.tuple([z.number(), z.string()])),
      }),
    ),
  }),
});

/** The labels of a series, and its values over a time. */
export interface Course {
  readonly labels: Readonly<Record<string, string>>;
  readonly points: readonly { readonly atSeconds: number; readonly value: number }[];
}

/** Every series that a PromQL expression gave from one moment to another, in so many steps. Seconds since 1970. */
export async function askOver(
  target: Target,
  expression: string,
  { from, to, steps }: { from: number; to: number; steps: number },
): Promise<Course[]> {
  const span = { start: String(from), end: String(to), step: String((to - from) / steps) };
  const { data } = coursesShape.parse(await answerOf(target, "query_range", expression, span));
  return data.result.map(({ metric, values }) => ({
    labels: metric,
    points: values.map(([atSeconds, value]) => ({ atSeconds, value: Number(value) })),
  }));
}

async function answerOf(
  target: Target,
  endpoint: "query" | "query_range",
  expression: string,
  span: Readonly<Record<string, string>> = {},
): Promise<unknown> {
  const source = sources.get(target) ?? sourceOf(target);
  sources.set(target, source);
  const { service, asked } = await source;
  const query = Object.entries({ query: asked(expression), ...span })
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
    .join("&");
  const path = `/api/v1/namespaces/${service}/proxy/api/v1/${endpoint}?${query}`;
  return JSON.parse(await target.kubectl(["get", "--raw", path]));
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
