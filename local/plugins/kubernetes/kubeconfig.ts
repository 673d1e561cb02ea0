import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { parse } from "yaml";
import { at, isObject, listAt, textAt, type Json, type JsonObject } from "../common/wire.ts";

/** How to reach one cluster as one user. */
export interface Connection {
  server: string;
  namespace: string;
  clusterName: string;
  certificateAuthority?: string | Buffer;
  clientCertificate?: string | Buffer;
  clientKey?: string | Buffer;
  token?: string;
  skipVerification: boolean;
}

/**
 * Reads the kubeconfig given as text or as a path, else the one of the environment, and picks a context.
 * Throws with what is missing.
 */
export function readConnection(kubeconfig: string | undefined, contextName: string | undefined): Connection {
  const { text, directory, origin } = load(kubeconfig);
  const parsed: unknown = parse(text);
  const config: JsonObject = isObject(parsed) ? parsed : {};
  const wanted = contextName ?? textAt(config, "current-context");
  const context = entry(config, "contexts", "context", wanted);
  if (!context) throw new Error(`${origin} has no context "${wanted}"`);
  const clusterName = textAt(context, "cluster");
  const cluster = entry(config, "clusters", "cluster", clusterName);
  if (!cluster) throw new Error(`${origin} has no cluster "${clusterName}" (context "${wanted}")`);
  const user = entry(config, "users", "user", textAt(context, "user")) ?? {};
  if (user.exec ?? user["auth-provider"]) {
    throw new Error(
      `${origin}: the user of context "${wanted}" signs in through a program; use a certificate or token`,
    );
  }
  const data = (owner: JsonObject, key: string): string | Buffer | undefined => {
    const inline = textAt(owner, `${key}-data`);
    if (inline) return Buffer.from(inline, "base64");
    const file = textAt(owner, key);
    return file ? readFileSync(path.resolve(directory, file)) : undefined;
  };
  const tokenFile = textAt(user, "tokenFile");
  const token = tokenFile
    ? readFileSync(path.resolve(directory, tokenFile), "utf8").trim()
    : textAt(user, "token");
  const certificateAuthority = data(cluster, "certificate-authority");
  const clientCertificate = data(user, "client-certificate");
  const clientKey = data(user, "client-key");
  return {
    server: textAt(cluster, "server").replace(/\/$/, ""),
    namespace: textAt(context, "namespace"),
    clusterName,
    skipVerification: at(cluster, "insecure-skip-tls-verify") === true,
    ...(certificateAuthority && { certificateAuthority }),
    ...(clientCertificate && { clientCertificate }),
    ...(clientKey && { clientKey }),
    ...(token && { token }),
  };
}

function load(kubeconfig: string | undefined): { text: string; directory: string; origin: string } {
  if (kubeconfig && (kubeconfig.includes("\n") || kubeconfig.trimStart().startsWith("{"))) {
    return { text: kubeconfig, directory: process.cwd(), origin: "the provider's kubeconfig" };
  }
  const fromEnvironment = process.env.KUBECONFIG?.split(path.delimiter)[0];
  const named = kubeconfig ?? fromEnvironment ?? path.join(homedir(), ".kube", "config");
  const file = named.startsWith("~/") ? path.join(homedir(), named.slice(2)) : named;
  if (!existsSync(file)) throw new Error(`no kubeconfig: ${file} does not exist`);
  return { text: readFileSync(file, "utf8"), directory: path.dirname(file), origin: `kubeconfig ${file}` };
}

function entry(config: JsonObject, list: string, field: string, name: string): JsonObject | undefined {
  const found: Json | undefined = listAt(config, list).find((item) => textAt(item, "name") === name);
  const value = at(found, field);
  return isObject(value) ? value : undefined;
}
