/** A language model of OpenAI's API that says always the same, as a program for Node in a pod. */

/** A question that has these words is answered in `pieceCount` pieces, one each second. */
export const atLength = "at length";
export const pieceCount = 10;

/** @param milliseconds - how long it thinks about any other question. */
export function standInModel(address: string, port: number, milliseconds = 0): string {
  return `
  const { setTimeout: sleep } = require("node:timers/promises");
  const { text } = require("node:stream/consumers");
  const event = (delta, finish) => "data: " + JSON.stringify({ id: "c", object: "chat.completion.chunk",
    choices: [{ index: 0, delta, finish_reason: finish }] }) + "\\n\\n";
  require("node:http").createServer(async (request, response) => {
    const long = (await text(request)).includes("${atLength}");
    const pieces = long ? Array(${pieceCount}).fill("word ") : ["the provider's answer"];
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    for (const content of pieces) {
      await sleep(long ? 1000 : ${milliseconds});
      response.write(event({ content }, null));
    }
    response.end(event({}, "stop") + "data: [DONE]\\n\\n");
  }).listen(${port}, "${address}", () => console.log("listening"));`;
}
