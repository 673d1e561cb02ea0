import * as pulumi from "@pulumi/pulumi";
import { describe, expect, test } from "vitest";

import { crossChecks } from "../../components/configChecks";
import { stackSchema } from "../../components/configSchema";
import { edgeCertificate, type CertificateSource } from "../../components/edgeCertificate";
import { KubernetesSecretStore } from "../../components/secrets/kubernetesSecretStore";
import { at, ofType, register, type Registered } from "./mocks";

const pem = "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----";

async function certificate(
  source: CertificateSource,
  value: string | undefined,
): Promise<{ resources: Registered[]; volume: unknown }> {
  let volume: unknown;
  const resources = await register(() => {
    const secrets = new KubernetesSecretStore("secrets");
    const made = edgeCertificate(new pulumi.ComponentResource("test:Edge", "edge"), {
      namespace: pulumi.output("edge"),
      hosts: ["api.example.com", "www.example.com"],
      certificate: source,
      tlsBundle: secrets.keep("edge-tls", value),
      secrets,
    });
    pulumi.output(made.volume).apply((known) => (volume = known));
  });
  return { resources, volume };
}

describe("the edge's certificate", () => {
  test("is mounted as one file when it is given", async () => {
    const { resources } = await certificate({ from: "given" }, pem);
    expect(at(ofType(resources, "core/v1:Secret")[0], "stringData")).toEqual({ "tls.pem": pem });
  });

  test("is the vault's by its name: a store that is no vault cannot have it", async () => {
    await expect(certificate({ from: "keyVault", name: "api" }, undefined)).rejects.toThrow(
      /"api" has no value/,
    );
  });

  test("is asked of cert-manager for every host, and mounted as the same one file", async () => {
    const issuer = { kind: "ClusterIssuer", name: "letsencrypt" } as const;
    const { resources, volume } = await certificate({ from: "certManager", issuer }, undefined);
    const [made] = ofType(resources, "cert-manager.io/v1:Certificate");
    expect(at(made, "spec")).toMatchObject({
      dnsNames: ["api.example.com", "www.example.com"],
      issuerRef: { group: "cert-manager.io", ...issuer },
      additionalOutputFormats: [{ type: "CombinedPEM" }],
    });
    expect(at(made, "metadata.annotations")).toEqual({ "pulumi.com/waitFor": "condition=Ready" });
    expect(volume).toMatchObject({
      secret: {
        secretName: at(made, "spec.secretName"),
        items: [{ key: "tls-combined.pem", path: "tls.pem" }],
      },
    });
    expect(ofType(resources, "core/v1:Secret")).toEqual([]);
  });

  test("from a vault needs one, and a bundle beside another source is refused", () => {
    const { edge, secrets } = stackSchema.shape;
    const sections = {
      edge: edge.parse({ certificate: { from: "keyVault", name: "api" } }),
      secrets: secrets.parse({}),
    };
    const problems = crossChecks(
      sections,
      new Set(["tlsBundle", "internalCa", "postgresTls", "redisTls", "ageIdentity"]),
    );
    expect(problems).toEqual([
      "groundwork:edge.certificate.from: keyVault needs secrets.store: keyVault",
      "groundwork:tlsBundle: has no effect with edge.certificate.from: keyVault; remove it",
    ]);
    const byManager = edge.parse({ certificate: { from: "certManager", issuer: { name: "ca" } } });
    expect(crossChecks({ ...sections, edge: byManager }, new Set()).join("\n")).not.toContain(
      "groundwork:tlsBundle",
    );
  });
});
