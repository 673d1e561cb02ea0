import { at, listAt, numberAt, textAt, type Json, type JsonObject } from "../../common/wire.ts";
import type { Client } from "../client.ts";
import { kindOf, nameOf, namespaceOf } from "../objects.ts";
import type { Awaiter } from "./types.ts";

const LOG_LINES = 10;
const EVENTS = 3;
const PODS = 3;

/** What the pods behind an object say about why they are not ready: states, events, last log lines. */
export async function diagnosePods(
  live: JsonObject,
  awaiter: Awaiter,
  client: Client,
  detail: "states" | "everything",
): Promise<string[]> {
  const namespace = namespaceOf(live);
  const pods = kindOf(live) === "Pod" ? [live] : await listPods(live, awaiter, client);
  const troubled = pods.filter((pod) => textAt(pod, "status", "phase") !== "Succeeded" && !isReady(pod));
  const reports = troubled.slice(0, PODS).map(async (pod) => {
    const states = podStates(pod);
    if (detail === "states") return states;
    const [events, logs] = await Promise.all([
      podEvents(pod, namespace, client),
      containerLogs(pod, namespace, client),
    ]);
    return [...states, ...events, ...logs];
  });
  return (await Promise.all(reports)).flat();
}

async function listPods(live: JsonObject, awaiter: Awaiter, client: Client): Promise<JsonObject[]> {
  const labelSelector = awaiter.podSelector?.(live);
  if (!labelSelector) return [];
  const path = await client.path("v1", "Pod", namespaceOf(live));
  const list = await client.request("GET", path, { query: { labelSelector } });
  const pods = listAt(list, "items").filter((item): item is JsonObject => at(item, "metadata") !== undefined);
  // The newest revision is the one that is waited for.
  const created = (pod: Json): string => textAt(pod, "metadata", "creationTimestamp");
  return pods.sort((a, b) => created(b).localeCompare(created(a)));
}

const isReady = (pod: Json): boolean =>
  listAt(pod, "status", "conditions").some(
    (item) => textAt(item, "type") === "Ready" && textAt(item, "status") === "True",
  );

const containers = (pod: Json): Json[] => [
  ...listAt(pod, "status", "initContainerStatuses"),
  ...listAt(pod, "status", "containerStatuses"),
];

function podStates(pod: JsonObject): string[] {
  const prefix = `Pod ${namespaceOf(pod)}/${nameOf(pod)}`;
  const unscheduled = listAt(pod, "status", "conditions")
    .filter((item) => textAt(item, "type") === "PodScheduled" && textAt(item, "status") === "False")
    .map((item) => `${prefix}: [${textAt(item, "reason")}] ${textAt(item, "message")}`);
  const states = containers(pod)
    .filter((container) => at(container, "ready") !== true)
    .flatMap((container) => {
      const name = `${prefix}: container "${textAt(container, "name")}"`;
      const waiting = at(container, "state", "waiting");
      const stopped = at(container, "state", "terminated") ?? at(container, "lastState", "terminated");
      const lines: string[] = [];
      const reason = textAt(waiting, "reason");
      if (reason && reason !== "ContainerCreating" && reason !== "PodInitializing") {
        lines.push(`${name}: [${reason}] ${textAt(waiting, "message")}`.trim());
      }
      const exitCode = numberAt(stopped, "exitCode");
      if (exitCode !== undefined && exitCode !== 0) {
        const said = textAt(stopped, "message");
        lines.push(
          `${name} ended with exit code ${exitCode} (${textAt(stopped, "reason")})${said && `: ${said}`}`,
        );
      }
      return lines;
    });
  return [...unscheduled, ...states];
}

async function podEvents(pod: JsonObject, namespace: string, client: Client): Promise<string[]> {
  const path = await client.path("v1", "Event", namespace);
  const list = await client
    .request("GET", path, {
      query: { fieldSelector: `involvedObject.uid=${textAt(pod, "metadata", "uid")}` },
    })
    .catch((): JsonObject => ({}));
  return listAt(list, "items")
    .filter((event) => textAt(event, "type") === "Warning")
    .slice(-EVENTS)
    .map(
      (event) =>
        `Pod ${namespace}/${nameOf(pod)}: event ${textAt(event, "reason")}: ${textAt(event, "message")}`,
    );
}

async function containerLogs(pod: JsonObject, namespace: string, client: Client): Promise<string[]> {
  const path = `${await client.path("v1", "Pod", namespace, nameOf(pod))}/log`;
  const reports = containers(pod)
    .filter((container) => at(container, "ready") !== true)
    .map(async (container) => {
      const name = textAt(container, "name");
      const running = at(container, "state", "running") !== undefined;
      const previous = !running && (numberAt(container, "restartCount") ?? 0) > 0;
      const query = { container: name, tailLines: String(LOG_LINES), ...(previous && { previous: "true" }) };
      const text = await client.text(path, query).catch(() => "");
      const lines = text.trimEnd();
      return lines ? [`Pod ${namespace}/${nameOf(pod)}: last lines of container "${name}":\n${lines}`] : [];
    });
  return (await Promise.all(reports)).flat();
}
