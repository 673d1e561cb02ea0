import grpc from "@grpc/grpc-js";
import engineGrpc from "@pulumi/pulumi/proto/engine_grpc_pb.js";
import engine from "@pulumi/pulumi/proto/engine_pb.js";

export type Severity = "debug" | "info" | "warning" | "error";

/** Sends messages to the engine, which shows them beside the resource they belong to. */
export class EngineLog {
  readonly #client: engineGrpc.EngineClient | undefined;
  readonly #lastStatus = new Map<string, string>();

  constructor(address: string | undefined) {
    this.#client = address
      ? new engineGrpc.EngineClient(address, grpc.credentials.createInsecure())
      : undefined;
  }

  write(severity: Severity, urn: string, message: string): void {
    this.#send(severity, urn, message, false);
  }

  /** A line that the next one of the same resource replaces; a repetition is not sent. */
  status(severity: Severity, urn: string, message: string): void {
    if (this.#lastStatus.get(urn) === message) return;
    this.#lastStatus.set(urn, message);
    this.#send(severity, urn, message, true);
  }

  #send(severity: Severity, urn: string, message: string, ephemeral: boolean): void {
    const severities = {
      debug: engine.LogSeverity.DEBUG,
      info: engine.LogSeverity.INFO,
      warning: engine.LogSeverity.WARNING,
      error: engine.LogSeverity.ERROR,
    };
    const request = new engine.LogRequest();
    request.setSeverity(severities[severity]);
    request.setUrn(urn);
    request.setMessage(message);
    request.setEphemeral(ephemeral);
    // An engine that has gone away needs no messages.
    this.#client?.log(request, () => undefined);
  }
}
