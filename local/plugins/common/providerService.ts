import grpc from "@grpc/grpc-js";
import providerGrpc from "@pulumi/pulumi/proto/provider_grpc_pb.js";
import messages from "@pulumi/pulumi/proto/provider_pb.js";
import pluginMessages from "@pulumi/pulumi/proto/plugin_pb.js";
import statusMessages from "@pulumi/pulumi/proto/status_pb.js";
import any from "google-protobuf/google/protobuf/any_pb.js";
import empty from "google-protobuf/google/protobuf/empty_pb.js";
import struct from "google-protobuf/google/protobuf/struct_pb.js";
import { plainStatus, serve, unary } from "./serve.ts";
import { isObject, type JsonObject } from "./wire.ts";
import {
  InitializationError,
  noDiff,
  type CheckResult,
  type DiffResult,
  type Provider,
  type ResourceRequest,
} from "./provider.ts";

const toJson = (value: struct.Struct | undefined): JsonObject => {
  const plain: unknown = value?.toJavaScript();
  return isObject(plain) ? plain : {};
};
const toStruct = (value: JsonObject): struct.Struct => struct.Struct.fromJavaScript(value);

function errorStatus(error: unknown): Partial<grpc.StatusObject> {
  if (!(error instanceof InitializationError)) return plainStatus(error);
  const detail = new messages.ErrorResourceInitFailed();
  detail.setId(error.state.id);
  detail.setProperties(toStruct(error.state.properties));
  if (error.state.inputs) detail.setInputs(toStruct(error.state.inputs));
  detail.setReasonsList(error.reasons);
  const packed = new any.Any();
  packed.pack(detail.serializeBinary(), "pulumirpc.ErrorResourceInitFailed");
  const status = new statusMessages.Status();
  status.setCode(grpc.status.UNKNOWN);
  status.setMessage(error.message);
  status.addDetails(packed);
  const metadata = new grpc.Metadata();
  metadata.add("grpc-status-details-bin", Buffer.from(status.serializeBinary()));
  return { code: grpc.status.UNKNOWN, details: error.message, metadata };
}

function diffResponse(result: DiffResult): messages.DiffResponse {
  const response = new messages.DiffResponse();
  const { DIFF_SOME, DIFF_NONE } = messages.DiffResponse.DiffChanges;
  response.setChanges(result.changes ? DIFF_SOME : DIFF_NONE);
  response.setReplacesList(result.replaces);
  response.setDeletebeforereplace(result.deleteBeforeReplace);
  response.setHasdetaileddiff(true);
  for (const [path, kind] of result.detailed) {
    response.setDiffsList([...response.getDiffsList(), path]);
    const property = new messages.PropertyDiff();
    property.setKind(messages.PropertyDiff.Kind[kind]);
    response.getDetaileddiffMap().set(path, property);
  }
  return response;
}

function checkResponse(result: CheckResult): messages.CheckResponse {
  const response = new messages.CheckResponse();
  response.setInputs(toStruct(result.inputs));
  for (const { property, reason } of result.failures ?? []) {
    const failure = new messages.CheckFailure();
    failure.setProperty(property);
    failure.setReason(reason);
    response.addFailures(failure);
  }
  return response;
}

const blank: ResourceRequest = {
  urn: "",
  type: "",
  name: "",
  id: "",
  olds: {},
  oldInputs: {},
  news: {},
  ignoreChanges: [],
  timeoutSeconds: 0,
  preview: false,
};

const identity = (request: { getUrn(): string; getType(): string; getName(): string }) => ({
  urn: request.getUrn(),
  type: request.getType() || (request.getUrn().split("::")[2]?.split("$").at(-1) ?? ""),
  name: request.getName() || (request.getUrn().split("::").at(-1) ?? ""),
});

function service(provider: Provider): grpc.UntypedServiceImplementation {
  const call = <Request, Response>(handle: (request: Request) => Response | Promise<Response>) =>
    unary(handle, errorStatus);
  return {
    handshake: call(() => {
      const response = new messages.ProviderHandshakeResponse();
      response.setAcceptSecrets(true);
      return response;
    }),
    attach: call(() => new empty.Empty()),
    getPluginInfo: call(() => {
      const response = new pluginMessages.PluginInfo();
      response.setVersion(provider.version);
      return response;
    }),
    getSchema: call(() => {
      const response = new messages.GetSchemaResponse();
      response.setSchema("{}");
      return response;
    }),
    checkConfig: call((request: messages.CheckRequest) =>
      checkResponse({ inputs: toJson(request.getNews()) }),
    ),
    diffConfig: call((request: messages.DiffRequest) =>
      diffResponse(provider.diffConfig?.(toJson(request.getOlds()), toJson(request.getNews())) ?? noDiff),
    ),
    configure: call(async (request: messages.ConfigureRequest) => {
      await provider.configure?.(toJson(request.getArgs()));
      const response = new messages.ConfigureResponse();
      response.setAcceptsecrets(true);
      response.setSupportspreview(true);
      return response;
    }),
    invoke: call((request: messages.InvokeRequest) => {
      if (!provider.invoke) throw new Error(`unknown function ${request.getTok()}`);
      const response = new messages.InvokeResponse();
      response.setReturn(toStruct(provider.invoke(request.getTok(), toJson(request.getArgs()))));
      return response;
    }),
    check: call(async (request: messages.CheckRequest) =>
      checkResponse(
        await provider.check({
          ...identity(request),
          olds: toJson(request.getOlds()),
          news: toJson(request.getNews()),
          randomSeed: request.getRandomseed_asU8(),
        }),
      ),
    ),
    diff: call(async (request: messages.DiffRequest) =>
      diffResponse(
        await provider.diff({
          ...blank,
          ...identity(request),
          id: request.getId(),
          olds: toJson(request.getOlds()),
          oldInputs: toJson(request.getOldInputs()),
          news: toJson(request.getNews()),
          ignoreChanges: request.getIgnorechangesList(),
        }),
      ),
    ),
    create: call(async (request: messages.CreateRequest) => {
      const created = await provider.create({
        ...blank,
        ...identity(request),
        news: toJson(request.getProperties()),
        timeoutSeconds: request.getTimeout(),
        preview: request.getPreview(),
      });
      const response = new messages.CreateResponse();
      response.setId(created.id);
      response.setProperties(toStruct(created.properties));
      return response;
    }),
    read: call(async (request: messages.ReadRequest) => {
      const found = await provider.read({
        ...blank,
        ...identity(request),
        id: request.getId(),
        olds: toJson(request.getProperties()),
        oldInputs: toJson(request.getInputs()),
      });
      const response = new messages.ReadResponse();
      if (!found) return response;
      response.setId(found.id);
      response.setProperties(toStruct(found.properties));
      if (found.inputs) response.setInputs(toStruct(found.inputs));
      return response;
    }),
    update: call(async (request: messages.UpdateRequest) => {
      const properties = await provider.update({
        ...blank,
        ...identity(request),
        id: request.getId(),
        olds: toJson(request.getOlds()),
        oldInputs: toJson(request.getOldInputs()),
        news: toJson(request.getNews()),
        ignoreChanges: request.getIgnorechangesList(),
        timeoutSeconds: request.getTimeout(),
        preview: request.getPreview(),
      });
      const response = new messages.UpdateResponse();
      response.setProperties(toStruct(properties));
      return response;
    }),
    delete: call(async (request: messages.DeleteRequest) => {
      await provider.delete({
        ...blank,
        ...identity(request),
        id: request.getId(),
        olds: toJson(request.getProperties()),
        timeoutSeconds: request.getTimeout(),
      });
      return new empty.Empty();
    }),
    cancel: call(() => {
      provider.cancel?.();
      return new empty.Empty();
    }),
  };
}

export async function serveProvider(provider: Provider): Promise<void> {
  await serve(providerGrpc.ResourceProviderService, service(provider), () => provider.cancel?.());
}
