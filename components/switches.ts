import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { labels } from "./podDefaults.ts";

const path = "/etc/groundwork/switches";
const volume = "switches";
const name = "app-switches";

/** What a pod of the app's image needs to read the switches. */
export interface Switches {
  readonly env: Readonly<Record<string, string>>;
  readonly volume: k8s.types.input.core.v1.Volume;
  readonly mount: k8s.types.input.core.v1.VolumeMount;
}

/**
 * Switches for an emergency, which the app looks at while it runs: sign-in without the directory, simple answers without
 * the language model, and what users are told of it. `make emergency LEVEL=2` turns them; the stack makes them, off, and
 * leaves them alone.
 */
export function emergencySwitches(parent: pulumi.Resource, namespace: pulumi.Input<string>): Switches {
  const map = new k8s.core.v1.ConfigMap(
    name,
    {
      metadata: { name, namespace, labels: labels("app", "switches") },
      data: { "sign-in": "off", "ai-mode": "normal", notice: "" },
    },
    { parent, ignoreChanges: ["data"] },
  );
  return {
    env: {
      FALLBACK_SIGN_IN_FILE: `${path}/sign-in`,
      AI_MODE_FILE: `${path}/ai-mode`,
      NOTICE_FILE: `${path}/notice`,
    },
    volume: { name: volume, configMap: { name: map.metadata.name } },
    mount: { name: volume, mountPath: path, readOnly: true },
  };
}
