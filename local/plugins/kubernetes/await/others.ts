import { at, listAt, objectAt, textAt, type JsonObject } from "../../common/wire.ts";
import { ApiError, type Client } from "../client.ts";
import { condition, nameOf, namespaceOf } from "../objects.ts";
import { pending, ready, type Awaiter, type Readiness } from "./types.ts";

const hasAddress = (live: JsonObject): boolean =>
  listAt(live, "status", "loadBalancer", "ingress").length > 0;

/** Ready with an address where one is promised, and once none of the selected pods is still unready. */
async function service(live: JsonObject, client: Client): Promise<Readiness> {
  const type = textAt(live, "spec", "type");
  const missing: string[] = [];
  const selects = Object.keys(objectAt(live, "spec", "selector")).length > 0;
  if (selects && type !== "ExternalName" && textAt(live, "spec", "clusterIP") !== "None") {
    const path = await client.path("discovery.k8s.io/v1", "EndpointSlice", namespaceOf(live));
    const slices = await client.request("GET", path, {
      query: { labelSelector: `kubernetes.io/service-name=${nameOf(live)}` },
    });
    const endpoints = listAt(slices, "items").flatMap((slice) => listAt(slice, "endpoints"));
    const unready = endpoints.filter((endpoint) => at(endpoint, "conditions", "ready") === false);
    if (unready.length > 0) missing.push(`Service has ${unready.length} selected Pods that are not ready`);
  }
  if (type === "LoadBalancer" && !hasAddress(live)) {
    missing.push("Service was not allocated an address; does this cluster have a load balancer?");
  }
  return missing.length > 0 ? pending(...missing) : ready;
}

async function persistentVolumeClaim(live: JsonObject, client: Client): Promise<Readiness> {
  const phase = textAt(live, "status", "phase");
  if (phase === "Bound") return ready;
  const className = textAt(live, "spec", "storageClassName");
  if (className) {
    const path = await client.path("storage.k8s.io/v1", "StorageClass", "", className);
    const storageClass = await client.request("GET", path).catch((error: unknown) => {
      if (error instanceof ApiError && error.code === 404) return {};
      throw error;
    });
    if (textAt(storageClass, "volumeBindingMode") === "WaitForFirstConsumer") return ready;
  }
  return pending(`PersistentVolumeClaim is ${phase || "not bound"}`);
}

function persistentVolume(live: JsonObject): Readiness {
  const phase = textAt(live, "status", "phase");
  return phase === "Available" || phase === "Bound"
    ? ready
    : pending(`PersistentVolume is ${phase || "pending"}`);
}

function resourceQuota(live: JsonObject): Readiness {
  const [wanted, seen] = [objectAt(live, "spec", "hard"), objectAt(live, "status", "hard")];
  const same = Object.keys(wanted).every((key) => seen[key] === wanted[key]);
  return same ? ready : pending("Waiting for the quota to be taken up");
}

const ingress = (live: JsonObject): Readiness =>
  hasAddress(live)
    ? ready
    : pending("Ingress was not allocated an address; does an ingress controller serve it?");

const definition = (live: JsonObject): Readiness =>
  condition(live, "Established")?.status === "True"
    ? ready
    : pending("Waiting for the definition to be served");

export const otherAwaiters: Record<string, Awaiter> = {
  Service: { timeoutSeconds: 600, check: service, dependsOnOthers: true },
  PersistentVolumeClaim: { timeoutSeconds: 300, check: persistentVolumeClaim },
  PersistentVolume: { timeoutSeconds: 300, check: persistentVolume },
  ResourceQuota: { timeoutSeconds: 60, check: resourceQuota },
  Ingress: { timeoutSeconds: 600, check: ingress },
  CustomResourceDefinition: { timeoutSeconds: 60, check: definition },
};
