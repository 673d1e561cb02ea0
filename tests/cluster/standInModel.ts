/** A language model of OpenAI's API in the pods' own network, so that no policy has to let it through. */
import type { V1PodList } from "@kubernetes/client-node";
import { spawn, type ChildProcess } from "node:child_process";
import { expect } from "vitest";
import { get, kubectl, kubectlCommand, settled, waitFor } from "./support.ts";

/** A question that has these words is answered in `pieceCount` pieces, one each second; the app gives up after 60 s. */
export const atLength = "at length";
export const pieceCount = 30;
/** One that has these is never answered. */
export const silently = "without a word";
/** And one that has these by what is no answer. */
export const inRubbish = "in rubbish";
/** What it says to any other. */
export const itsAnswer = "the provider's answer";

const port = 18_080;

/**
 * The model, as a program for Node.
 * @param milliseconds - how long it thinks about a question that has no such words.
 */
export function standInModel(address: string, port: number, milliseconds = 0): string {
  return `
  const { setTimeout: sleep } = require("node:timers/promises");
  const { text } = require("node:stream/consumers");
  const event = (delta, finish) => "data: " + JSON.stringify({ id: "c", object: "chat.completion.chunk",
    choices: [{ index: 0, delta, finish_reason: finish }] }) + "\\n\\n";
  require("node:http").createServer(async (request, response) => {
    const question = await text(request);
    if (question.includes("${silently}")) return;
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    if (question.includes("${inRubbish}")) return response.end("data: <html>\\n\\n");
    const long = question.includes("${atLength}");
    const pieces = long ? Array(${pieceCount}).fill("word ") : ["${itsAnswer}"];
    for (const content of pieces) {
      await sleep(long ? 1000 : ${milliseconds});
      response.write(event({ content }, null));
    }
    response.end(event({}, "stop") + "data: [DONE]\\n\\n");
  }).listen(${port}, "${address}", () => console.log("listening"));`;
}

/** The keys may be anything. */
const settings = {
  AI_URL: `http://127.0.0.1:${port}/v1`,
  AI_KEYS_FILE: "/run/secrets/groundwork/field-keys.json",
  AI_MAX_RETRIES: "0",
};
const variables = {
  app: settings,
  worker: { ...settings, JOB_RETRIES: "0" },
};
export type Asking = keyof typeof variables;
const asking: readonly Asking[] = ["app", "worker"];

/** Has app and workers ask it, once and not again when that fails. Until one is started in a pod nobody answers there. */
export async function askStandIn(more: Readonly<Record<string, string>> = {}): Promise<void> {
  await set((workload) => Object.entries({ ...variables[workload], ...more }).map((pair) => pair.join("=")));
}

/** Takes all of `askStandIn` back. */
export async function askNobody(more: Readonly<Record<string, string>> = {}): Promise<void> {
  await set((workload) => Object.keys({ ...variables[workload], ...more }).map((name) => `${name}-`));
}

async function set(assignments: (workload: Asking) => string[]): Promise<void> {
  for (const workload of asking)
    await kubectl("set", "env", "--namespace=app", `deploy/${workload}`, ...assignments(workload));
  for (const workload of asking) await settled("app", workload);
}

/** Starts it in every pod of the workload; it ends with the pod. */
export async function startStandIn(workload: Asking): Promise<ChildProcess[]> {
  const program = standInModel("127.0.0.1", port);
  const pods = (await podsOf(workload)).map(({ metadata }) => metadata?.name ?? "");
  return Promise.all(
    pods.map(async (pod) => {
      const [kubectl, args] = kubectlCommand("exec", "--namespace=app", pod, "--", "node", "-e", program);
      const child = spawn(kubectl, args, { stdio: ["ignore", "pipe", "inherit"] });
      await waitFor(`the provider in ${pod}`, 20, () => {
        expect(String(child.stdout.read() ?? "")).toContain("listening");
      });
      return child;
    }),
  );
}

async function podsOf(workload: Asking): Promise<V1PodList["items"]> {
  const selector = `--selector=app.kubernetes.io/name=${workload}`;
  return ((await get("pods", "--namespace=app", selector)) as V1PodList).items;
}
