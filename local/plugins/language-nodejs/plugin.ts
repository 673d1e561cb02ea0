import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import path from "node:path";
import messages from "@pulumi/pulumi/proto/language_pb.js";
import { cancellable } from "./run.ts";

/** Runs a policy pack or a provider written in JavaScript under the SDK's runner for it, until it exits. */
export async function runPlugin(
  request: messages.RunPluginRequest,
  send: (output: messages.RunPluginResponse) => void,
): Promise<number> {
  const directory = request.getInfo()?.getProgramDirectory() ?? request.getPwd();
  const runner = request.getKind() === "analyzer" ? "run-policy-pack" : "run-plugin";
  const script = createRequire(path.join(directory, "package.json")).resolve(`@pulumi/pulumi/cmd/${runner}`);
  const variables = request.getEnvList().map((entry): [string, string] => {
    const [name = "", value = ""] = entry.split(/=(.*)/s);
    return [name, value];
  });
  const child = spawn(process.execPath, [script, ...request.getArgsList(), directory], {
    cwd: runner === "run-policy-pack" ? directory : request.getPwd(),
    env: { ...process.env, ...Object.fromEntries(variables) },
    stdio: ["ignore", "pipe", "pipe"],
  });
  cancellable(child);
  const forward = (stream: "setStdout" | "setStderr") => (chunk: Buffer) => {
    const response = new messages.RunPluginResponse();
    response[stream](new Uint8Array(chunk));
    send(response);
  };
  child.stdout.on("data", forward("setStdout"));
  child.stderr.on("data", forward("setStderr"));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => {
      resolve(code ?? 1);
    });
  });
}
