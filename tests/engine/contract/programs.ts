/** Sources of small programs for the kubernetes provider. */

export interface ProviderSettings {
  readonly enableConfigMapMutable?: boolean;
  readonly enableSecretMutable?: boolean;
}

/** A program with `k8s`, `pulumi`, `random`, the namespace as `namespace` and provider options as `options`. */
export function program(namespace: string, body: string, settings: ProviderSettings = {}): string {
  const provider = { enableServerSideApply: true, clusterIdentifier: "contract", ...settings };
  return `"use strict";
const pulumi = require("@pulumi/pulumi");
const k8s = require("@pulumi/kubernetes");
const random = require("@pulumi/random");
const options = { provider: new k8s.Provider("provider", ${JSON.stringify(provider)}) };
const namespace = ${JSON.stringify(namespace)};
${body}`;
}

export const mutable: ProviderSettings = { enableConfigMapMutable: true, enableSecretMutable: true };

export function configMap(name: string, data: Record<string, string>, more = ""): string {
  const metadata = `metadata: { name: ${JSON.stringify(name)}, namespace }`;
  return `new k8s.core.v1.ConfigMap(${JSON.stringify(name)}, { ${metadata}, data: ${JSON.stringify(data)} }, { ...options, ${more} });\n`;
}

/** A pod template that no scheduler takes up: the test plays the kubelet. */
export function podTemplate(label: string): string {
  return `{
    metadata: { labels: { app: ${JSON.stringify(label)} } },
    spec: {
      schedulerName: "nobody",
      containers: [{ name: "main", image: "no.such/image:1", resources: { limits: { cpu: "1000m", memory: "1024Mi" } } }],
    },
  }`;
}

export function deployment(name: string, fields: string, more = ""): string {
  return `new k8s.apps.v1.Deployment("${name}", {
    metadata: { name: "${name}", namespace },
    spec: { selector: { matchLabels: { app: "${name}" } }, template: ${podTemplate(name)}, ${fields} },
  }, { ...options, ${more} });\n`;
}
