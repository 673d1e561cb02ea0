import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import * as http from "node:http";
import * as https from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, type ConnectionOptions } from "node:tls";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type Listener, listen } from "../src/http/listen.ts";
import { parseBundle, ServedCertificate } from "../src/http/servedCertificate.ts";
import { capturedLogger } from "./support/logs.ts";

let directory: string;
let listener: Listener;
const { logger, entries } = capturedLogger();
const file = (name: string) => join(directory, name);

/** A certificate for localhost that vouches for itself, and its key, as one PEM; its serial number. */
async function makeBundle(name: string): Promise<string> {
  const [key, certificate] = [file(`${name}.key`), file(`${name}.crt`)];
  const kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2"];
  const names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
  execFileSync("openssl", ["req", ...kind, ...names, "-keyout", key, "-out", certificate], { stdio: "pipe" });
  const pem = await readFile(certificate, "utf8");
  await writeFile(file(`${name}.pem`), pem + (await readFile(key, "utf8")));
  return new X509Certificate(pem).serialNumber;
}

/** As the kubelet does: the name leads to another file from one moment to the next. */
async function install(name: string): Promise<void> {
  await writeFile(file("next"), await readFile(file(`${name}.pem`)));
  await rename(file("next"), file("tls.pem"));
}

async function servedSerial(options: ConnectionOptions = {}): Promise<string | undefined> {
  const socket = connect({ port: listener.port, rejectUnauthorized: false, ...options });
  await once(socket, "secureConnect");
  const served = socket.getPeerX509Certificate()?.serialNumber;
  socket.destroy();
  return served;
}

function ask(agent: https.Agent | false): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { port: listener.port, rejectUnauthorized: false, agent };
    https
      .get(options, (response) => {
        let body = "";
        response.on("data", (chunk: Buffer) => (body += chunk.toString()));
        response.on("end", () => {
          resolve(body);
        });
      })
      .on("error", reject);
  });
}

let first: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "groundwork-served-"));
  first = await makeBundle("first");
  await install("first");
  const certificate = new ServedCertificate(file("tls.pem"), logger, 50);
  listener = await listen((_, response) => response.end("served"), 0, { certificate });
});
afterAll(async () => {
  await listener.close(0);
  await rm(directory, { recursive: true });
});

describe("an API with a certificate", () => {
  it("speaks TLS 1.3 and nothing else", async () => {
    expect(await servedSerial()).toBe(first);
    await expect(servedSerial({ maxVersion: "TLSv1.2" })).rejects.toThrow(/protocol version/);
    const plain = new Promise((resolve, reject) => {
      http.get({ port: listener.port }, resolve).on("error", reject);
    });
    await expect(plain).rejects.toThrow();
  });

  it("takes a renewed one without a failed request, and keeps what it has when the new one cannot be used", async () => {
    const agent = new https.Agent({ keepAlive: true, maxSockets: 2 });
    const outcomes: string[] = [];
    const ended = new AbortController();
    const clients = [agent, agent, false as const].map(async (by) => {
      while (!ended.signal.aborted) outcomes.push(await ask(by).catch(String));
    });

    const second = await makeBundle("second");
    await install("second");
    await vi.waitFor(async () => {
      expect(await servedSerial()).toBe(second);
    }, 3000);
    await writeFile(file("broken.pem"), (await readFile(file("first.crt"), "utf8")) + "no key");
    await install("broken");
    await vi.waitFor(() => {
      expect(entries()).toContainEqual(expect.objectContaining({ level: "error", module: "certificate" }));
    }, 3000);
    await sleep(150);
    expect(await servedSerial()).toBe(second);
    ended.abort();
    await Promise.all(clients);
    agent.destroy();
    expect(outcomes.length).toBeGreaterThan(20);
    expect(outcomes.filter((outcome) => outcome !== "served")).toEqual([]);
  });

  it("does not start without one", async () => {
    const certificate = new ServedCertificate(file("nothing.pem"), logger);
    await expect(listen(() => undefined, 0, { certificate })).rejects.toThrow(/cannot be used/);
  });

  it("is refused a key of another certificate, without being told it", async () => {
    const [certificate, key] = await Promise.all([
      readFile(file("first.crt"), "utf8"),
      readFile(file("second.key"), "utf8"),
    ]);
    expect(parseBundle(certificate + key)).toMatch(/^expected PEM/);
    expect(parseBundle(await readFile(file("first.pem"), "utf8"))).toMatchObject({ minVersion: "TLSv1.3" });
  });
});
