/**
 * What a Pulumi program talks to, answering at once and doing nothing: so that what is measured is the program. It notes
 * when the program asked for the first time, and how many resources it asked for.
 */
import grpc from "@grpc/grpc-js";
import engine from "@pulumi/pulumi/proto/engine_grpc_pb.js";
import engineMessages from "@pulumi/pulumi/proto/engine_pb.js";
import monitor from "@pulumi/pulumi/proto/resource_grpc_pb.js";
import messages from "@pulumi/pulumi/proto/resource_pb.js";
import empty from "google-protobuf/google/protobuf/empty_pb.js";
import { unary } from "../plugins/common/serve.ts";

export interface Monitor {
  readonly address: string;
  /** Resources that were registered since it began, the stack itself not counted. */
  readonly resources: () => number;
  /** When the first was, by `performance.now()`; undefined before. */
  readonly firstAt: () => number | undefined;
  readonly stop: () => void;
}

export async function startMonitor(): Promise<Monitor> {
  let count = 0;
  let firstAt: number | undefined;
  const server = new grpc.Server({ "grpc.max_receive_message_length": 64 * 2 ** 20 });
  server.addService(monitor.ResourceMonitorService, {
    supportsFeature: unary(() => {
      const response = new messages.SupportsFeatureResponse();
      response.setHassupport(true);
      return response;
    }),
    registerResource: unary((request: messages.RegisterResourceRequest) => {
      const [type, name] = [request.getType(), request.getName()];
      if (type !== "pulumi:pulumi:Stack") {
        count += 1;
        firstAt ??= performance.now();
      }
      const response = new messages.RegisterResourceResponse();
      response.setUrn(`urn:pulumi:prod::groundwork::${type}::${name}`);
      if (request.getCustom()) response.setId(`id-of-${name}`);
      response.setObject(request.getObject());
      return response;
    }),
    registerResourceOutputs: unary(() => new empty.Empty()),
  });
  server.addService(engine.EngineService, {
    log: unary(() => new empty.Empty()),
    setRootResource: unary(() => new engineMessages.SetRootResourceResponse()),
    getRootResource: unary(() => new engineMessages.GetRootResourceResponse()),
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) => {
      if (error) reject(error);
      else resolve(bound);
    });
  });
  return {
    address: `127.0.0.1:${port}`,
    resources: () => count,
    firstAt: () => firstAt,
    stop: () => {
      server.forceShutdown();
    },
  };
}
