/** The edge while it changes: under load, nobody notices. */
import { execFile } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { Agent } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "node:tls";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { z } from "zod";
import { inIdentity } from "../../local/identity.ts";
import { appName } from "../../local/internalCertificates.ts";
import { message } from "../../local/system.ts";
import { exchange } from "./exchange.ts";
import { edge, get, killPods, kubectl, readyPods, stackPods, waitFor, workloadOf } from "./support.ts";

interface Load {
  /** Requests answered with 200. */
  answered: number;
  /** Of these and of the failures, those that were sent twice (`Exchange.sentAgain`). */
  sentAgain: number;
  /** Everything else. */
  readonly failures: string[];
}

/** Some ten requests a second from each of ten clients, through the edge to the app, while something else happens. */
async function underLoad(change: () => Promise<void>): Promise<Load> {
  const load: Load = { answered: 0, sentAgain: 0, failures: [] };
  const ended = new AbortController();
  const client = async (_: unknown, number: number): Promise<void> => {
    const headers = { "X-Forwarded-For": `2001:db8:edae:${(number + 1).toString(16)}::1` };
    const options = { path: "/api/health", headers, agent: new Agent({ keepAlive: true, maxSockets: 1 }) };
    while (!ended.signal.aborted) {
      try {
        const { status, sentAgain } = await exchange(options);
        if (sentAgain) load.sentAgain += 1;
        if (status === 200) load.answered += 1;
        else load.failures.push(`${new Date().toISOString()} ${status}`);
      } catch (error) {
        load.failures.push(`${new Date().toISOString()} ${message(error)}`);
      }
      await sleep(100);
    }
  };
  const clients = Array.from({ length: 10 }, client);
  try {
    await change();
    // Pods and processes that are leaving go on until they have finished.
    await sleep(8_000);
  } finally {
    ended.abort();
    await Promise.allSettled(clients);
  }
  return load;
}

function expectNoFailure(what: string, load: Load): void {
  console.log(`${what}: ${load.answered} requests answered, ${load.sentAgain} of them sent again`);
  expect(load.failures).toEqual([]);
  expect(load.answered).toBeGreaterThan(200);
}

test("no request fails while nginx reloads its configuration, five times in a row", async () => {
  const load = await underLoad(async () => {
    for (let reload = 0; reload < 5; reload++) {
      const nginx = ["nginx", "-e", "stderr", "-c", "/etc/groundwork/nginx/nginx.conf", "-s", "reload"];
      await kubectl("exec", "--namespace=edge", "deploy/edge", "--", ...nginx);
      await sleep(1_000);
    }
  });
  expectNoFailure("reloads", load);
});

test("no request fails while the edge is rolled out anew", async () => {
  const load = await underLoad(async () => {
    await kubectl("rollout", "restart", "--namespace=edge", "deployment/edge");
    await kubectl("rollout", "status", "--namespace=edge", "deployment/edge", "--timeout=110s");
  });
  expectNoFailure("rollout", load);
});

test("no request fails while the edge's pods are deleted and replaced", async () => {
  const before = await readyPods("edge");
  const load = await underLoad(async () => {
    await killPods("edge", "edge");
    await waitFor("other pods of the edge", 60, async () => {
      const now = await readyPods("edge");
      expect(now).toHaveLength(before.length);
      expect(now.filter((uid) => before.includes(uid))).toEqual([]);
    });
  });
  expectNoFailure("deletion", load);
});

const storedCertificate = z.object({ data: z.object({ "tls.pem": z.string() }) });

async function servedSerial(): Promise<string | undefined> {
  const socket = connect({ host: edge.hostname, port: Number(edge.port || 443), rejectUnauthorized: false });
  await once(socket, "secureConnect");
  const served = socket.getPeerX509Certificate();
  socket.destroy();
  return served?.serialNumber;
}

/** Vouches for itself, unless files of an authority are given. */
async function newCertificate(host = "localhost", signedBy?: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "cluster-tests-"));
  const [key, certificate] = [join(directory, "key.pem"), join(directory, "certificate.pem")];
  const kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "1"];
  const names = ["-subj", `/CN=${host}`, "-addext", `subjectAltName=DNS:${host}`];
  const signed = signedBy === undefined ? [] : ["-CA", `${signedBy}.crt`, "-CAkey", `${signedBy}.key`];
  const made = ["-keyout", key, "-out", certificate];
  await promisify(execFile)("openssl", ["req", ...kind, ...names, ...signed, ...made]);
  const pem = `${await readFile(certificate, "utf8")}${await readFile(key, "utf8")}`;
  await rm(directory, { recursive: true });
  return pem;
}

/** Puts a certificate where a workload mounts it from, and waits until it is served. */
async function installCertificate(
  encoded: string,
  workload = "edge",
  served: () => Promise<string | undefined> = servedSerial,
): Promise<void> {
  const patch = JSON.stringify({ data: { "tls.pem": encoded } });
  const there = `--namespace=${workload}`;
  await kubectl("patch", "secret", there, `${workload}-secrets`, `--patch=${patch}`);
  // The kubelet looks at a pod's files each minute or so, and at once when the pod changes.
  await kubectl("annotate", "pods", there, "--all", "--overwrite", `cluster-tests=${Date.now()}`);
  const { serialNumber } = new X509Certificate(Buffer.from(encoded, "base64"));
  await waitFor("the certificate served", 150, async () => {
    expect(await served()).toBe(serialNumber);
  });
}

/** Pods of a workload and how often each container was started again. */
async function starts(workload: string): Promise<unknown> {
  return (await stackPods())
    .filter((pod) => workloadOf(pod) === workload)
    .map(({ metadata, status }) => [
      metadata?.uid,
      status?.containerStatuses?.map(({ restartCount }) => restartCount),
    ]);
}

test("a renewed certificate is served without a restart", async () => {
  const before = await starts("edge");
  const { data } = storedCertificate.parse(await get("secret", "--namespace=edge", "edge-secrets"));
  try {
    await installCertificate(Buffer.from(await newCertificate()).toString("base64"));
  } finally {
    await installCertificate(data["tls.pem"]);
  }
  expect(await starts("edge")).toEqual(before);
});

const askSerial = `
const socket = require("node:tls").connect(process.env.PORT, { rejectUnauthorized: false }, () => {
  console.log(socket.getPeerX509Certificate().serialNumber);
  socket.destroy();
});`;

/** What one pod of the app serves itself with. */
async function serialOfApp(): Promise<string> {
  const node = ["node", "--eval", askSerial];
  return (await kubectl("exec", "--namespace=app", "deploy/app", "--container=app", "--", ...node)).trim();
}

test("no request fails while the app's certificate is renewed", async () => {
  const before = await starts("app");
  const { data } = storedCertificate.parse(await get("secret", "--namespace=app", "app-secrets"));
  const renewed = await newCertificate(appName, inIdentity("internal-ca"));
  const load = await underLoad(async () => {
    try {
      await installCertificate(Buffer.from(renewed).toString("base64"), "app", serialOfApp);
      // Longer than the edge keeps a connection: every one of them has met it.
      await sleep(7_000);
    } finally {
      await installCertificate(data["tls.pem"], "app", serialOfApp);
      await sleep(7_000);
    }
  });
  expectNoFailure("the app's certificate", load);
  expect(await starts("app")).toEqual(before);
});
