/**
 * Stands in for Entra and for an Azure Key Vault, at their own names: what asks them comes by a proxy that knows no other way,
 * and trusts this machine's internal CA, as pods do. Entra is asked with a service account's token, which must be the cluster's
 * own. Pods reach the vault at an address of the node's, too.
 */
import { createPublicKey, randomBytes, verify, type JsonWebKey } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer as createProxy, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer } from "node:https";
import { connect, createServer as createDoor, type AddressInfo, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { z } from "zod";
import { makeCertificate, signedBy } from "../../local/certificates.ts";
import { inIdentity } from "../../local/identity.ts";
import { network } from "../../local/node/layout.ts";
import { kubectl } from "./support.ts";

export const vaultName = "groundwork-test";
/** As production's settings have it. */
export const tenantId = "00000000-0000-0000-0000-000000000000";
/** An identity that may be asked for. */
export const clientId = "11111111-2222-3333-4444-555555555555";
const vaultHost = `${vaultName}.vault.azure.net`;
const entraHost = "login.microsoftonline.com";
const tenant = `https://${entraHost}/${tenantId}`;
/** For whom a service account's token must be. */
export const audience = "api://AzureADTokenExchange";

const keysShape = z.object({ keys: z.array(z.looseObject({ kid: z.string() })) });
const headerShape = z.object({ kid: z.string() });
const claimsShape = z.object({ sub: z.string(), aud: z.array(z.string()), exp: z.number() });

/** Who may be somebody to Azure, and what that identity may read. */
export interface Identity {
  readonly clientId: string;
  /** Service account that is it, as `system:serviceaccount:<namespace>:<name>`. */
  readonly subject: string;
  readonly reads: readonly string[];
}

export interface StandInVault {
  /** For a process that asks: the way there, and whom to trust. */
  readonly env: Readonly<Record<string, string>>;
  /** Where pods reach the vault, if a policy lets them: address and port. */
  readonly host: string;
  readonly port: number;
  /** A new version of a secret. */
  put(name: string, value: string): void;
  /** While it is away, no connection gets anywhere. */
  setAway(is: boolean): void;
  stop(): Promise<void>;
}

export async function startVault(identities: readonly Identity[]): Promise<StandInVault> {
  const { keys } = keysShape.parse(JSON.parse(await kubectl("get", "--raw", "/openid/v1/jwks")));
  const host = network.nodeAddress;
  const directory = await mkdtemp(join(tmpdir(), "groundwork-vault-"));
  const names = [`DNS:${vaultHost}`, `DNS:${entraHost}`, `IP:${host}`];
  const extra = signedBy(inIdentity("internal-ca"), "serverAuth", names);
  await makeCertificate({ directory, name: "server", subject: "/CN=Stand-in for Azure", days: 1, extra });
  const [key, cert] = await Promise.all(
    ["server.key", "server.crt"].map((file) => readFile(join(directory, file))),
  );

  const secrets = new Map<string, { value: string; version: string }>();
  const tokens = new Map<string, Identity>();
  const azure = createServer({ key, cert }, (request, response) => {
    const answer =
      request.headers.host === entraHost ? entra(request, keys, identities, tokens) : vault(request);
    void Promise.resolve(answer)
      .catch((error: unknown): Told => ({ status: 400, body: { error: String(error) } }))
      .then((told) => {
        reply(response, told);
      });
  });
  const vault = (request: IncomingMessage): Told => {
    const identity = tokens.get(request.headers.authorization?.replace("Bearer ", "") ?? "");
    if (!identity) return { status: 401, body: {}, challenge: true };
    const name = /^\/secrets\/([^/?]+)/.exec(request.url ?? "")?.[1] ?? "";
    if (!identity.reads.includes(name)) {
      return refusal(403, "Forbidden", `Caller is not authorized to perform action on resource ${name}`);
    }
    const secret = secrets.get(name);
    if (!secret) return refusal(404, "SecretNotFound", `A secret with (name/id) ${name} was not found`);
    const id = `https://${vaultHost}/secrets/${name}/${secret.version}`;
    return { status: 200, body: { value: secret.value, id, attributes: { enabled: true } } };
  };

  let away = false;
  const open = new Set<Socket>();
  const admit = (client: Socket, greeting = ""): void => {
    open.add(client.on("close", () => open.delete(client)).on("error", () => client.destroy()));
    if (away) {
      client.destroy();
      return;
    }
    const server = connect(portOf(azure), "127.0.0.1", () => {
      client.write(greeting);
      server.pipe(client).pipe(server);
    });
    server.on("error", () => client.destroy()).on("close", () => client.destroy());
    client.on("close", () => server.destroy());
  };
  const proxy = createProxy().on("connect", (_request, client: Socket) => {
    admit(client, "HTTP/1.1 200 Connection established\r\n\r\n");
  });
  const door = createDoor((client) => {
    admit(client);
  });
  const listen = (server: Server, address: string) => once(server.listen(0, address), "listening");
  await Promise.all([listen(azure, "127.0.0.1"), listen(proxy, "127.0.0.1"), listen(door, host)]);

  const setAway = (is: boolean): void => {
    away = is;
    if (away) for (const socket of open) socket.destroy();
  };
  return {
    env: { HTTPS_PROXY: `http://127.0.0.1:${portOf(proxy)}`, SSL_CERT_FILE: inIdentity("internal-ca.crt") },
    host,
    port: portOf(door),
    put: (name, value) => secrets.set(name, { value, version: randomBytes(16).toString("hex") }),
    setAway,
    async stop() {
      setAway(true);
      for (const server of [door, proxy, azure]) server.close();
      await rm(directory, { recursive: true });
    },
  };
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

interface Told {
  readonly status: number;
  readonly body: object;
  /** Whether to say who gives tokens. */
  readonly challenge?: boolean;
}

const refusal = (status: number, code: string, message: string): Told => ({
  status,
  body: { error: { code, message } },
});

function reply(response: ServerResponse, { status, body, challenge }: Told): void {
  response.writeHead(status, {
    "Content-Type": "application/json",
    ...(challenge && {
      "WWW-Authenticate": `Bearer authorization="${tenant}", resource="https://vault.azure.net"`,
    }),
  });
  response.end(JSON.stringify(body));
}

/** What a client of Entra looks up before it asks for a token. */
const lookups: Readonly<Record<string, object>> = {
  "/common/discovery/instance": {
    tenant_discovery_endpoint: `${tenant}/v2.0/.well-known/openid-configuration`,
    metadata: [{ preferred_network: entraHost, preferred_cache: entraHost, aliases: [entraHost] }],
  },
  [new URL(`${tenant}/v2.0/.well-known/openid-configuration`).pathname]: {
    issuer: `${tenant}/v2.0`,
    authorization_endpoint: `${tenant}/oauth2/v2.0/authorize`,
    token_endpoint: `${tenant}/oauth2/v2.0/token`,
  },
};

async function entra(
  request: IncomingMessage,
  keys: z.infer<typeof keysShape>["keys"],
  identities: readonly Identity[],
  tokens: Map<string, Identity>,
): Promise<Told> {
  const found = lookups[new URL(request.url ?? "", tenant).pathname];
  if (found) return { status: 200, body: found };
  const form = new URLSearchParams(await text(request));
  const subject = subjectOf(form.get("client_assertion") ?? "", keys);
  const clientId = form.get("client_id");
  const identity = identities.find((known) => known.clientId === clientId && known.subject === subject);
  if (!identity) {
    const description = `AADSTS700213: No matching federated identity record found for presented assertion subject '${subject}'`;
    return { status: 401, body: { error: "invalid_client", error_description: description } };
  }
  const token = randomBytes(16).toString("hex");
  tokens.set(token, identity);
  return { status: 200, body: { token_type: "Bearer", expires_in: 3600, access_token: token } };
}

/** Whose token it is. @throws when the cluster did not sign it, it is not for Entra, or it holds no more. */
function subjectOf(assertion: string, keys: readonly ({ kid: string } & JsonWebKey)[]): string {
  const [header = "", payload = "", signature = ""] = assertion.split(".");
  const decoded = (part: string): unknown => JSON.parse(Buffer.from(part, "base64url").toString());
  const { kid } = headerShape.parse(decoded(header));
  const key = keys.find((known) => known.kid === kid);
  if (!key) throw new Error(`AADSTS700211: no key ${kid} of the issuer`);
  const signed = Buffer.from(`${header}.${payload}`);
  const isOurs = verify(
    "sha256",
    signed,
    createPublicKey({ key, format: "jwk" }),
    Buffer.from(signature, "base64url"),
  );
  const { sub, aud, exp } = claimsShape.parse(decoded(payload));
  if (!isOurs || !aud.includes(audience) || exp * 1000 < Date.now())
    throw new Error("AADSTS700027: not a valid assertion");
  return sub;
}
