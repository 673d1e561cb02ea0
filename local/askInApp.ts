import { appName } from "./internalCertificates.ts";

/**
 * JavaScript for `node --eval` in a pod of the app: `ask(path, { host, port })` gives status and text of what the API answers,
 * of its own pod unless told otherwise, and checks its certificate as the edge does.
 */
export const askInApp = `
const secret = (file) => require("node:fs").readFileSync("/run/secrets/groundwork/" + file, "utf8");
const tls = process.env.TLS_FILE !== undefined;
const ask = (path, at = { host: "127.0.0.1", port: process.env.PORT }) => new Promise((resolve, reject) => {
  const checked = tls ? { servername: "${appName}", ca: secret("tls-ca.crt") } : {};
  require(tls ? "node:https" : "node:http").get({ path, ...at, ...checked }, (response) => {
    let text = "";
    response.setEncoding("utf8").on("data", (chunk) => (text += chunk));
    response.on("end", () => resolve({ status: response.statusCode, text }));
  }).on("error", reject);
});`;
