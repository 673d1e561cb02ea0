import {
  at,
  listAt,
  numberAt,
  objectAt,
  scalarText,
  textAt,
  type Json,
  type JsonObject,
} from "../../common/wire.ts";
import type { Client } from "../client.ts";
import { condition } from "../objects.ts";
import { failed, pending, ready, type Awaiter, type Readiness } from "./types.ts";

const observed = (live: JsonObject): boolean =>
  (numberAt(live, "status", "observedGeneration") ?? 0) >= (numberAt(live, "metadata", "generation") ?? 0);

const status = (live: JsonObject, field: string): number => numberAt(live, "status", field) ?? 0;

const describe = (found: JsonObject | undefined): string[] =>
  textAt(found ?? null, "message")
    ? [`[${textAt(found ?? null, "reason")}] ${textAt(found ?? null, "message")}`]
    : [];

/** A selector object as the text that a list request takes. */
export function selectorText(selector: Json | undefined): string {
  const labels = Object.entries(objectAt(selector, "matchLabels")).map(
    ([key, value]) => `${key}=${scalarText(value)}`,
  );
  const expressions = listAt(selector, "matchExpressions").map((item) => {
    const [key, operator] = [textAt(item, "key"), textAt(item, "operator")];
    const values = `(${listAt(item, "values").map(scalarText).join(",")})`;
    if (operator === "Exists") return key;
    if (operator === "DoesNotExist") return `!${key}`;
    return `${key} ${operator === "In" ? "in" : "notin"} ${values}`;
  });
  return [...labels, ...expressions].join(",");
}

const podSelector = (live: JsonObject): string => selectorText(at(live, "spec", "selector"));

/**
 * Whether a missed deadline is that of an earlier rollout: going back to a version whose pods are still there, the
 * controller leaves the condition as it was until the way back is complete.
 */
function isOfEarlierRollout(deadline: JsonObject, written: JsonObject | undefined): boolean {
  if (!written || observed(written)) return false;
  const before = condition(written, "Progressing") ?? null;
  return textAt(before, "lastUpdateTime") === textAt(deadline, "lastUpdateTime");
}

function deployment(live: JsonObject, _client: Client, written?: JsonObject): Readiness {
  if (!observed(live)) return pending("Waiting for the Deployment controller");
  const wanted = numberAt(live, "spec", "replicas") ?? 1;
  const progressing = condition(live, "Progressing");
  const available = condition(live, "Available");
  if (at(live, "spec", "paused") === true) return ready;
  if (progressing?.reason === "ProgressDeadlineExceeded" && !isOfEarlierRollout(progressing, written)) {
    return failed(...describe(progressing), ...describe(available));
  }
  const complete =
    progressing?.reason === "NewReplicaSetAvailable" &&
    available?.status === "True" &&
    status(live, "updatedReplicas") >= wanted &&
    status(live, "availableReplicas") >= wanted;
  if (complete) return ready;
  const missing = available?.status === "False" ? describe(available) : [];
  const count = `${status(live, "availableReplicas")}/${wanted}`;
  return pending(`Waiting for app ReplicaSet to be available (${count} Pods available)`, ...missing);
}

function statefulSet(live: JsonObject): Readiness {
  if (!observed(live)) return pending("Waiting for the StatefulSet controller");
  const wanted = numberAt(live, "spec", "replicas") ?? 1;
  const partition = numberAt(live, "spec", "updateStrategy", "rollingUpdate", "partition") ?? 0;
  const rolling = textAt(live, "spec", "updateStrategy", "type") !== "OnDelete";
  const revision = textAt(live, "status", "updateRevision");
  const updated =
    !rolling ||
    (partition > 0
      ? status(live, "updatedReplicas") >= wanted - partition
      : revision === textAt(live, "status", "currentRevision"));
  const readyReplicas = status(live, "readyReplicas");
  if (updated && readyReplicas >= wanted) return ready;
  const phase = updated ? "to be ready" : "to be updated";
  return pending(`Waiting for StatefulSet Pods ${phase} (${readyReplicas}/${wanted} ready)`);
}

function daemonSet(live: JsonObject): Readiness {
  if (!observed(live)) return pending("Waiting for the DaemonSet controller");
  const wanted = status(live, "desiredNumberScheduled");
  const rolling = textAt(live, "spec", "updateStrategy", "type") !== "OnDelete";
  const updated = !rolling || status(live, "updatedNumberScheduled") >= wanted;
  if (updated && status(live, "numberReady") >= wanted) return ready;
  return pending(`Waiting for DaemonSet Pods (${status(live, "numberReady")}/${wanted} ready)`);
}

function job(live: JsonObject): Readiness {
  const lost = condition(live, "Failed");
  if (lost?.status === "True") return failed(...describe(lost));
  if (condition(live, "Complete")?.status === "True" || at(live, "spec", "suspend") === true) return ready;
  const done = `${status(live, "succeeded")}/${numberAt(live, "spec", "completions") ?? 1}`;
  return pending(`Waiting for Job to complete (${done} Pods succeeded, ${status(live, "failed")} failed)`);
}

function pod(live: JsonObject): Readiness {
  const phase = textAt(live, "status", "phase");
  if (phase === "Succeeded" || condition(live, "Ready")?.status === "True") return ready;
  if (phase === "Failed")
    return failed(`[${textAt(live, "status", "reason") || "Failed"}] the Pod has failed`);
  return pending("Waiting for Pod to be ready");
}

export const workloadAwaiters: Record<string, Awaiter> = {
  Deployment: { timeoutSeconds: 600, check: deployment, podSelector },
  StatefulSet: { timeoutSeconds: 600, check: statefulSet, podSelector },
  DaemonSet: { timeoutSeconds: 600, check: daemonSet, podSelector },
  Job: {
    timeoutSeconds: 600,
    check: job,
    podSelector: (live) => `batch.kubernetes.io/job-name=${textAt(live, "metadata", "name")}`,
  },
  Pod: { timeoutSeconds: 600, check: pod },
};
