import grpc from "@grpc/grpc-js";

/**
 * Serves a gRPC service the way the engine expects of a plugin: any free port on loopback, its number on the
 * first line of standard output. The process ends with its parent: an engine that was killed leaves nothing.
 */
export async function serve<S extends grpc.UntypedServiceImplementation>(
  definition: grpc.ServiceDefinition<S>,
  implementation: S,
  onOrphaned: () => void = () => undefined,
): Promise<void> {
  const server = new grpc.Server({
    "grpc.max_receive_message_length": 400 * 1024 * 1024,
    "grpc.max_send_message_length": 400 * 1024 * 1024,
  });
  server.addService(definition, implementation);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) => {
      if (error) reject(error);
      else resolve(bound);
    });
  });
  process.stdout.write(`${String(port)}\n`);
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid === parent) return;
    onOrphaned();
    process.exit(1);
  }, 500).unref();
}

/** The handler of a unary call, from an async function. */
export function unary<Request, Response>(
  handle: (request: Request) => Response | Promise<Response>,
  asStatus: (error: unknown) => Partial<grpc.StatusObject> = plainStatus,
): grpc.handleUnaryCall<Request, Response> {
  return (call, callback) => {
    Promise.resolve()
      .then(() => handle(call.request))
      .then(
        (response) => {
          callback(null, response);
        },
        (error: unknown) => {
          callback(asStatus(error));
        },
      );
  };
}

export function plainStatus(error: unknown): Partial<grpc.StatusObject> {
  const details = error instanceof Error ? error.message : String(error);
  return { code: grpc.status.UNKNOWN, details };
}
