/** What a fresh cluster lacks before pods can use it: names, volumes, and the API server's right to reach the kubelet. */
import { Resolver } from "node:dns/promises";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import type { Api, KubernetesObject } from "./api.ts";
import { clusterDomain, network } from "./layout.ts";

export async function applyAddons(api: Api, dnsImage: string): Promise<void> {
  const objects = [...(await read("node.yaml")), ...(await read("coredns.yaml"))];
  for (const object of objects) await api.apply(completed(object, dnsImage));
}

async function read(file: string): Promise<KubernetesObject[]> {
  const text = await readFile(join(import.meta.dirname, "manifests", file), "utf8");
  return parseAllDocuments(text).map((document) => document.toJS() as KubernetesObject);
}

interface Service extends KubernetesObject {
  readonly spec: object;
}

interface Deployment extends KubernetesObject {
  readonly spec: { readonly template: { readonly spec: { readonly containers: readonly object[] } } };
}

/** Fills in what only this machine knows. */
function completed(object: KubernetesObject, dnsImage: string): KubernetesObject {
  if (object.kind === "Service") {
    const service = object as Service;
    return { ...service, spec: { ...service.spec, clusterIP: network.dnsServiceAddress } } as Service;
  }
  if (object.kind === "Deployment") {
    const { spec, ...rest } = object as Deployment;
    const containers = spec.template.spec.containers.map((container) => ({ ...container, image: dnsImage }));
    const template = { ...spec.template, spec: { ...spec.template.spec, containers } };
    return { ...rest, spec: { ...spec, template } } as Deployment;
  }
  return object;
}

/** The API server answers before it knows its own roles; a part started then is refused and waits long before it retries. */
export async function areRolesKnown(api: Api): Promise<boolean> {
  const review = {
    apiVersion: "authorization.k8s.io/v1",
    kind: "SubjectAccessReview",
    spec: { user: "system:kube-proxy", resourceAttributes: { verb: "list", resource: "nodes" } },
  };
  const path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
  const answer = await api.send<{ status: { allowed: boolean } }>("POST", path, review);
  return answer.status.allowed;
}

/** Asks as a pod would: through the Service's address to CoreDNS. */
export async function isDnsAnswering(): Promise<boolean> {
  const resolver = new Resolver({ timeout: 500, tries: 1 });
  resolver.setServers([network.dnsServiceAddress]);
  const addresses = await resolver.resolve4(`kubernetes.default.svc.${clusterDomain}`);
  return addresses.includes(network.apiServiceAddress);
}
