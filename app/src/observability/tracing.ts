import {
  type Attributes,
  context,
  propagation,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
} from "@opentelemetry/api";
import { withoutSecrets } from "./secrets.ts";

export const tracer = trace.getTracer("groundwork-app");

interface SpanOptions {
  kind?: SpanKind;
  attributes?: Attributes;
  /** W3C `traceparent` of the caller; by default the span belongs under the one that is active. */
  traceparent?: string | null;
}

/**
 * Runs `work` in a span of its own; an error is recorded on it and passed on. In a trace that is not recorded there is
 * no span but the first.
 */
export async function traced<T>(
  name: string,
  { kind = SpanKind.INTERNAL, attributes = {}, traceparent }: SpanOptions,
  work: (span: Span) => Promise<T>,
): Promise<T> {
  const active = trace.getActiveSpan();
  if (typeof traceparent !== "string" && active && !isSampled(active)) {
    return work(active);
  }
  const parent =
    typeof traceparent === "string"
      ? propagation.extract(context.active(), { traceparent })
      : context.active();
  return tracer.startActiveSpan(name, { kind, attributes }, parent, async (span) => {
    try {
      return await work(span);
    } catch (error) {
      recordError(span, error);
      throw error;
    } finally {
      span.end();
    }
  });
}

function isSampled(span: Span): boolean {
  return (span.spanContext().traceFlags & TraceFlags.SAMPLED) !== 0;
}

/** Spans leave for another system as logs do: what is kept out of these is kept out of those. */
export function recordError(span: Span, error: unknown): void {
  if (error instanceof Error) {
    const { name, message, stack = "" } = error;
    span.recordException({ name, message: withoutSecrets(message), stack: withoutSecrets(stack) });
  } else {
    span.recordException(withoutSecrets(String(error)));
  }
  span.setStatus({ code: SpanStatusCode.ERROR });
}

/** Whether what is done now is being recorded: only then is a span for each of its details worth its cost. */
export function isRecording(): boolean {
  return trace.getActiveSpan()?.isRecording() ?? false;
}

/** W3C `traceparent` of the active span, to be handed on with a job or a request to another service. */
export function currentTraceparent(): string | null {
  const carrier: { traceparent?: string } = {};
  propagation.inject(context.active(), carrier);
  return carrier.traceparent ?? null;
}
