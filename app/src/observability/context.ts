import { AsyncLocalStorage } from "node:async_hooks";
import { randomUUID } from "node:crypto";

/** What ties log lines together; it follows a request (or a job) through everything it awaits. */
export interface Context {
  requestId: string | null;
  traceId: string | null;
  tenantId: string | null;
  jobId: string | null;
}

const storage = new AsyncLocalStorage<Context>();

export function runInContext<T>(context: Context, work: () => T): T {
  return storage.run(context, work);
}

/** The context of the running request or job; outside of both, one with nothing in it. */
export function currentContext(): Context {
  return storage.getStore() ?? { requestId: null, traceId: null, tenantId: null, jobId: null };
}

/** The context of a request, with the ids that the edge handed on if they are well-formed, else new ones. */
export function requestContext(requestId: string | undefined, traceparent: string | undefined): Context {
  return {
    requestId: requestId !== undefined && /^[\w.-]{1,64}$/.test(requestId) ? requestId : randomUUID(),
    traceId: traceIdOf(traceparent) ?? randomUUID().replaceAll("-", ""),
    tenantId: null,
    jobId: null,
  };
}

/** W3C Trace Context; a trace id of zeros and version ff are invalid. */
function traceIdOf(traceparent: string | undefined): string | undefined {
  return /^(?!ff)[\da-f]{2}-(?!0{32})([\da-f]{32})-[\da-f]{16}-[\da-f]{2}/.exec(traceparent ?? "")?.[1];
}
