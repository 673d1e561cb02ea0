import { spawn } from "node:child_process";
import grpc from "@grpc/grpc-js";
import language from "@pulumi/pulumi/proto/language_grpc_pb.js";
import messages from "@pulumi/pulumi/proto/language_pb.js";
import plugin from "@pulumi/pulumi/proto/plugin_pb.js";
import empty from "google-protobuf/google/protobuf/empty_pb.js";
import { serve, unary } from "../common/serve.ts";
import { isObject, objectAt, scalarText, textAt, type JsonObject } from "../common/wire.ts";
import { readPackage, requiredPlugins } from "./packages.ts";
import { runPlugin } from "./plugin.ts";
import { cancelPrograms, runProgram } from "./run.ts";

/** Stands in for pulumi-language-nodejs: starts the SDK's own runner for the program, and answers about it. */
let engineAddress = process.argv.slice(2).find((argument) => !argument.startsWith("-")) ?? "";

const optionsOf = (info: messages.ProgramInfo | undefined): JsonObject => {
  const options: unknown = info?.getOptions()?.toJavaScript();
  return isObject(options) ? options : {};
};

const packageManager = (info: messages.ProgramInfo | undefined): string =>
  textAt(optionsOf(info), "packagemanager") || "npm";

const implementation: grpc.UntypedServiceImplementation = {
  handshake: unary((request: messages.LanguageHandshakeRequest) => {
    engineAddress = request.getEngineAddress() || engineAddress;
    return new messages.LanguageHandshakeResponse();
  }),
  getPluginInfo: unary(() => {
    const info = new plugin.PluginInfo();
    info.setVersion(process.env.PLUGIN_VERSION ?? "");
    return info;
  }),
  getRequiredPackages: unary(async (request: messages.GetRequiredPackagesRequest) => {
    const response = new messages.GetRequiredPackagesResponse();
    for (const found of await requiredPlugins(request.getInfo()?.getProgramDirectory() ?? process.cwd())) {
      const dependency = new plugin.PackageDependency();
      dependency.setKind("resource");
      dependency.setName(found.name);
      dependency.setVersion(found.version);
      dependency.setServer(found.server);
      response.addPackages(dependency);
    }
    return response;
  }),
  getRequiredPlugins: unary(() => new messages.GetRequiredPluginsResponse()),
  run: unary(async (request: messages.RunRequest) => {
    const info = request.getInfo();
    const { error, bail } = await runProgram({
      monitorAddress: request.getMonitorAddress(),
      engineAddress,
      organization: request.getOrganization(),
      project: request.getProject(),
      stack: request.getStack(),
      pwd: request.getPwd(),
      rootDirectory: info?.getRootDirectory() ?? request.getPwd(),
      entryPoint: info?.getEntryPoint() ?? ".",
      args: request.getArgsList(),
      dryRun: request.getDryrun(),
      parallel: request.getParallel(),
      config: Object.fromEntries(request.getConfigMap().toArray()),
      configSecretKeys: request.getConfigsecretkeysList(),
      options: optionsOf(info),
    });
    const response = new messages.RunResponse();
    response.setError(error);
    response.setBail(bail);
    return response;
  }),
  about: unary((request: messages.AboutRequest) => {
    const response = new messages.AboutResponse();
    response.setExecutable(process.execPath);
    response.setVersion(process.version);
    response.getMetadataMap().set("packagemanager", packageManager(request.getInfo()));
    return response;
  }),
  getProgramDependencies: unary(async (request: messages.GetProgramDependenciesRequest) => {
    const found = await readPackage(request.getInfo()?.getProgramDirectory() ?? process.cwd());
    const response = new messages.GetProgramDependenciesResponse();
    for (const [name, version] of Object.entries(objectAt(found, "dependencies"))) {
      const dependency = new messages.DependencyInfo();
      dependency.setName(name);
      dependency.setVersion(scalarText(version));
      response.addDependencies(dependency);
    }
    return response;
  }),
  runtimeOptionsPrompts: unary(() => new messages.RuntimeOptionsResponse()),
  installDependencies: (
    call: grpc.ServerWritableStream<
      messages.InstallDependenciesRequest,
      messages.InstallDependenciesResponse
    >,
  ) => {
    const manager = packageManager(call.request.getInfo());
    const child = spawn(manager, ["install"], { cwd: call.request.getDirectory() });
    const send = (stream: "setStdout" | "setStderr") => (chunk: Buffer) => {
      const response = new messages.InstallDependenciesResponse();
      response[stream](new Uint8Array(chunk));
      call.write(response);
    };
    child.stdout.on("data", send("setStdout"));
    child.stderr.on("data", send("setStderr"));
    child.once("error", (error) => call.destroy(error));
    child.once("close", (code) => {
      if (code === 0) call.end();
      else call.destroy(new Error(`${manager} install ended with exit code ${String(code)}`));
    });
  },
  runPlugin: (call: grpc.ServerWritableStream<messages.RunPluginRequest, messages.RunPluginResponse>) => {
    runPlugin(call.request, (output) => call.write(output)).then(
      (exitCode) => {
        const response = new messages.RunPluginResponse();
        response.setExitcode(exitCode);
        call.write(response);
        call.end();
      },
      (error: unknown) => call.destroy(error instanceof Error ? error : new Error(String(error))),
    );
  },
  cancel: unary(() => {
    cancelPrograms();
    return new empty.Empty();
  }),
};

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.once(signal, () => {
    cancelPrograms();
    process.exit(0);
  });
}

await serve(language.LanguageRuntimeService, implementation, cancelPrograms);
