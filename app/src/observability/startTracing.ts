import { context, propagation, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { defaultResource, resourceFromAttributes } from "@opentelemetry/resources";
import {
  AlwaysOffSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  type SpanExporter,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import type { TracingConfig } from "../config/settings.ts";
import { within } from "../deadline.ts";

export interface Tracing {
  /** Sends what is left, for at most two seconds, and stops. Never rejects. */
  stop(): Promise<void>;
}

/** Spans that wait for a collector that is away; what comes on top is dropped. */
const mostWaiting = 2048;
const flushTimeoutMs = 2000;

/**
 * Starts tracing for the whole process; call it once. Without an exporter (the collector of OTLP_TRACES_URL by
 * default) spans have ids, which logs and calls to others carry, and nothing is recorded.
 */
export function startTracing(
  { url, sampleRatio }: TracingConfig,
  serviceName: string,
  exporter: SpanExporter | undefined = url === undefined ? undefined : collector(url),
): Tracing {
  const provider = new TracerProvider({
    resource: defaultResource().merge(resourceFromAttributes({ "service.name": serviceName })),
    sampler: exporter
      ? new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(sampleRatio) })
      : new AlwaysOffSampler(),
    spanLimits: { attributeValueLengthLimit: 1024 },
    spanProcessors: exporter
      ? [
          new BatchSpanProcessor({
            exporter,
            maxQueueSize: mostWaiting,
            scheduledDelayMillis: 1000,
            exportTimeoutMillis: 5000,
          }),
        ]
      : [],
  });
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  trace.setGlobalTracerProvider(provider);
  return {
    async stop() {
      await within(flushTimeoutMs, provider.shutdown()).catch(() => undefined);
    },
  };
}

function collector(url: string): SpanExporter {
  return new OTLPTraceExporter({ url, timeoutMillis: 5000, concurrencyLimit: 2 });
}
