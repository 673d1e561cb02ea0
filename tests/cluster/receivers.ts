/** Where alerts arrive: a webhook and a mail server of the tests' own, at an address that the cluster's pods can reach. */
import type { V1NodeList } from "@kubernetes/client-node";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { SMTPServer } from "smtp-server";
import { z } from "zod";
import { authorityExtensions, makeCertificate, signedBy } from "../../local/certificates.ts";
import { get } from "./support.ts";

/** What came, and when (milliseconds since 1970). */
export interface Arrival {
  readonly at: number;
  readonly status: string;
  readonly alert: string;
  /** What was said: each alert with its state. Empty where the way it came does not tell them apart. */
  readonly said: string;
}

export interface Receiver {
  readonly port: number;
  /** Everything that came so far. */
  readonly arrivals: readonly Arrival[];
  readonly close: () => Promise<unknown>;
}

/** This machine's address on the way to the node: what runs here answers the node's pods there. */
export async function reachableAddress(): Promise<string> {
  const { items } = (await get("nodes")) as V1NodeList;
  const node = items[0]?.status?.addresses?.find(({ type }) => type === "InternalIP")?.address;
  if (node === undefined) throw new Error("The node has no internal address");
  const socket = createSocket("udp4");
  try {
    socket.connect(9, node);
    await once(socket, "connect");
    return socket.address().address;
  } finally {
    socket.close();
  }
}

const notification = z.object({
  status: z.string(),
  groupLabels: z.object({ alertname: z.string() }),
  alerts: z.array(z.object({ status: z.string(), fingerprint: z.string() })),
});

/** Takes notifications as Alertmanager posts them; `arrivals` tells what came to a path. */
export async function webhookReceiver(): Promise<Receiver & { readonly at: (path: string) => Arrival[] }> {
  const posted: (Arrival & { readonly path: string })[] = [];
  const server = createServer((request, response) => {
    text(request)
      .then((body) => {
        const { status, groupLabels, alerts } = notification.parse(JSON.parse(body));
        const said = alerts.map((one) => `${one.status} ${one.fingerprint}`).sort();
        const arrival = { at: Date.now(), status, alert: groupLabels.alertname, said: said.join() };
        posted.push({ ...arrival, path: request.url ?? "" });
        response.end();
      })
      .catch(() => response.writeHead(400).end());
  });
  await once(server.listen(0, "0.0.0.0"), "listening");
  return {
    port: (server.address() as AddressInfo).port,
    arrivals: posted,
    at: (path) => posted.filter((arrival) => arrival.path === path),
    close: () =>
      new Promise((resolve) => {
        server.close(resolve).closeAllConnections();
      }),
  };
}

/** Takes samples as Prometheus writes them, from whoever signs in, until it refuses all; `writes` counts them. */
export async function metricsStore(username: string, password: string) {
  let writes = 0;
  let refuses = false;
  const expected = `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
  const server = createServer((request, response) => {
    const { authorization, "x-prometheus-remote-write-version": version } = request.headers;
    const allowed = !refuses && authorization === expected && version !== undefined;
    request.resume().on("end", () => {
      if (allowed) writes += 1;
      response.writeHead(allowed ? 204 : 401).end();
    });
  });
  await once(server.listen(0, "0.0.0.0"), "listening");
  return {
    port: (server.address() as AddressInfo).port,
    writes: () => writes,
    refuse: () => {
      refuses = true;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(resolve).closeAllConnections();
      }),
  };
}

export interface MailServer extends Receiver {
  /** PEM of the authority that its certificate is of. */
  readonly ca: string;
}

/** A mail server that takes mail by TLS only, and from those only who sign in. */
export async function mailServer(address: string, username: string, password: string): Promise<MailServer> {
  const directory = await mkdtemp(join(tmpdir(), "cluster-tests-"));
  const made = { directory, days: 1 };
  await makeCertificate({
    ...made,
    name: "ca",
    subject: "/CN=Authority of a test",
    extra: authorityExtensions,
  });
  const extra = signedBy(join(directory, "ca"), "serverAuth", [`IP:${address}`]);
  await makeCertificate({ ...made, name: "mail", subject: "/CN=mail", extra });
  const read = (name: string) => readFile(join(directory, name), "utf8");
  const [ca, key, cert] = await Promise.all([read("ca.crt"), read("mail.key"), read("mail.crt")]);
  await rm(directory, { recursive: true });

  const arrivals: Arrival[] = [];
  const server = new SMTPServer({
    key,
    cert,
    authMethods: ["PLAIN", "LOGIN"],
    onAuth: (given, _session, done) => {
      if (given.username === username && given.password === password) done(null, { user: username });
      else done(new Error("wrong user or password"));
    },
    onData: (stream, session, done) => {
      text(stream).then((mail) => {
        const [, status = "", alert = ""] = /^Subject: (\w+): (\w+)\r?$/m.exec(mail) ?? [];
        if (session.secure) arrivals.push({ at: Date.now(), status: status.toLowerCase(), alert, said: "" });
        done();
      }, done);
    },
  });
  await once(server.listen(0, "0.0.0.0"), "listening");
  return {
    port: (server.server.address() as AddressInfo).port,
    arrivals,
    ca,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(resolve);
      }),
  };
}
