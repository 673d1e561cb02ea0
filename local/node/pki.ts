/** The node's certificates: three authorities and what they sign, made with openssl, renewed before they expire. */
import { createHash, randomBytes } from "node:crypto";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { authorityExtensions, isCurrent, makeCertificate, signedBy } from "../certificates.ts";
import { exists, readIfPresent, run } from "../system.ts";
import { clusterDomain, inCluster, network, nodeName } from "./layout.ts";

type Authority = "cluster" | "etcd" | "front-proxy";

interface CertificateSpec {
  readonly authority: Authority;
  readonly commonName: string;
  /** Kubernetes reads groups from here. */
  readonly organization?: string;
  /** Present on certificates that servers show. */
  readonly names?: readonly string[];
}

const validDays = 365;
const authorityDays = 3650;

/** Separate authorities, so that a client of the cluster is no client of etcd. */
const certificates: Readonly<Record<string, CertificateSpec>> = {
  "kube-apiserver": {
    authority: "cluster",
    commonName: "kube-apiserver",
    names: [
      "DNS:kubernetes",
      "DNS:kubernetes.default",
      "DNS:kubernetes.default.svc",
      `DNS:kubernetes.default.svc.${clusterDomain}`,
      "DNS:localhost",
      "IP:127.0.0.1",
      `IP:${network.nodeAddress}`,
      `IP:${network.apiServiceAddress}`,
    ],
  },
  "kube-apiserver-kubelet-client": { authority: "cluster", commonName: "kube-apiserver-kubelet-client" },
  "kubelet-server": {
    authority: "cluster",
    commonName: `system:node:${nodeName}`,
    organization: "system:nodes",
    names: [`DNS:${nodeName}`, `IP:${network.nodeAddress}`],
  },
  kubelet: { authority: "cluster", commonName: `system:node:${nodeName}`, organization: "system:nodes" },
  "kube-controller-manager": { authority: "cluster", commonName: "system:kube-controller-manager" },
  "kube-scheduler": { authority: "cluster", commonName: "system:kube-scheduler" },
  "kube-proxy": { authority: "cluster", commonName: "system:kube-proxy" },
  keeper: { authority: "cluster", commonName: "groundwork:node-keeper" },
  admin: { authority: "cluster", commonName: "groundwork-admin", organization: "system:masters" },
  etcd: { authority: "etcd", commonName: "etcd", names: ["DNS:localhost", "IP:127.0.0.1"] },
  "kube-apiserver-etcd-client": { authority: "etcd", commonName: "kube-apiserver-etcd-client" },
  "front-proxy-client": { authority: "front-proxy", commonName: "front-proxy-client" },
};

export function pkiPath(file: string): string {
  return inCluster("pki", file);
}

/** Makes what is missing, unreadable, near its end, or no longer as specified; leaves the rest alone. */
export async function ensurePki(now: Date = new Date()): Promise<void> {
  await mkdir(inCluster("pki"), { recursive: true, mode: 0o700 });
  for (const authority of ["cluster", "etcd", "front-proxy"] as const) await ensureAuthority(authority, now);
  await Promise.all(Object.entries(certificates).map(([name, spec]) => ensureCertificate(name, spec, now)));
  if (!(await exists(pkiPath("service-accounts.key")))) {
    const key = await run("openssl", ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    await writeFile(
      pkiPath("service-accounts.pub"),
      await run("openssl", ["pkey", "-pubout"], { input: key }),
    );
    await writeFile(pkiPath("service-accounts.key"), key, { mode: 0o600 });
  }
  await ensureEncryptionAtRest();
}

async function ensureAuthority(authority: Authority, now: Date): Promise<void> {
  const certificate = pkiPath(`${authority}-ca.crt`);
  if (isCurrent(await readIfPresent(certificate), now)) return;
  await makeCertificate({
    directory: inCluster("pki"),
    name: `${authority}-ca`,
    subject: `/CN=groundwork ${authority} CA`,
    days: authorityDays,
    extra: authorityExtensions,
  });
}

async function ensureCertificate(name: string, spec: CertificateSpec, now: Date): Promise<void> {
  const authority = await readIfPresent(pkiPath(`${spec.authority}-ca.crt`));
  const wanted = createHash("sha256")
    .update(JSON.stringify(spec))
    .update(authority ?? "")
    .digest("hex");
  const specFile = pkiPath(`${name}.spec`);
  const isAsSpecified = (await readIfPresent(specFile)) === wanted && (await exists(pkiPath(`${name}.key`)));
  if (isAsSpecified && isCurrent(await readIfPresent(pkiPath(`${name}.crt`)), now)) return;
  const organization = spec.organization === undefined ? "" : `/O=${spec.organization}`;
  // etcd and the kubelet also use their serving certificate as a client's.
  const usage = spec.names === undefined ? "clientAuth" : "serverAuth,clientAuth";
  await makeCertificate({
    directory: inCluster("pki"),
    name,
    subject: `${organization}/CN=${spec.commonName}`,
    days: validDays,
    extra: signedBy(pkiPath(`${spec.authority}-ca`), usage, spec.names),
  });
  await writeFile(specFile, wanted);
}

/** Secrets are unreadable in etcd's files without this key. */
async function ensureEncryptionAtRest(): Promise<void> {
  const path = pkiPath("encryption.json");
  if (await exists(path)) return;
  const key = { name: "key1", secret: randomBytes(32).toString("base64") };
  const providers = [{ secretbox: { keys: [key] } }, { identity: {} }];
  const configuration = {
    apiVersion: "apiserver.config.k8s.io/v1",
    kind: "EncryptionConfiguration",
    resources: [{ resources: ["secrets"], providers }],
  };
  await writeFile(path, JSON.stringify(configuration), { mode: 0o600 });
}

/** A kubeconfig with the named client certificate inside. JSON is YAML. */
export async function writeKubeconfig(
  path: string,
  client: string,
  server: string,
  context: string,
): Promise<void> {
  const inline = async (file: string): Promise<string> =>
    Buffer.from((await readIfPresent(pkiPath(file))) ?? "").toString("base64");
  const kubeconfig = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": context,
    clusters: [
      { name: context, cluster: { server, "certificate-authority-data": await inline("cluster-ca.crt") } },
    ],
    users: [
      {
        name: client,
        user: {
          "client-certificate-data": await inline(`${client}.crt`),
          "client-key-data": await inline(`${client}.key`),
        },
      },
    ],
    contexts: [{ name: context, context: { cluster: context, user: client } }],
  };
  await mkdir(join(path, ".."), { recursive: true });
  const text = JSON.stringify(kubeconfig, undefined, 2);
  if ((await readIfPresent(path)) !== text) await writeFile(path, text, { mode: 0o600 });
  await chmod(path, 0o600);
}
