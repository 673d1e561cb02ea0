/** A language model of OpenAI's API that says always the same, as a program for Node in a pod. */

/** @param milliseconds - how long it thinks. */
export function standInModel(address: string, port: number, milliseconds = 0): string {
  return `
  const piece = (delta, finish) => "data: " + JSON.stringify({ id: "c", object: "chat.completion.chunk",
    choices: [{ index: 0, delta, finish_reason: finish }] }) + "\\n\\n";
  require("node:http").createServer((request, response) => {
    request.resume();
    setTimeout(() => response.writeHead(200, { "Content-Type": "text/event-stream" })
      .end(piece({ content: "the provider's answer" }, null) + piece({}, "stop") + "data: [DONE]\\n\\n"), ${milliseconds});
  }).listen(${port}, "${address}", () => console.log("listening"));`;
}
