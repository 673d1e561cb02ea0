import { Certificate } from "@kubernetes-models/cert-manager/cert-manager.io/v1/Certificate";
import * as pulumi from "@pulumi/pulumi";
import { describe, expect, test } from "vitest";

import { crossChecks } from "../../components/configChecks.ts";
import { stackSchema } from "../../components/configSchema.ts";
import {
  edgeCertificate,
  type CertificateSource,
  type EdgeCertificate,
} from "../../components/edgeCertificate.ts";
import { KubernetesSecretStore } from "../../components/secrets/kubernetesSecretStore.ts";
import { at, conform, ofType, register, type Registered } from "./mocks.ts";

const pem = "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----";

async function certificate(
  source: CertificateSource,
  value: string | undefined,
  checksApp = false,
): Promise<{ resources: Registered[]; volumes: unknown; made: EdgeCertificate }> {
  let volumes: unknown;
  let made: EdgeCertificate | undefined;
  const resources = await register(() => {
    const secrets = new KubernetesSecretStore("secrets");
    made = edgeCertificate(new pulumi.ComponentResource("test:Edge", "edge"), {
      namespace: pulumi.output("edge"),
      hosts: ["api.example.com", "www.example.com"],
      certificate: source,
      tlsBundle: secrets.keep("edge-tls", value),
      secrets,
      ...(checksApp && { upstreamTls: { name: "app", ca: secrets.keep("internal-ca", "authority") } }),
    });
    pulumi.output(made.volumes).apply((known) => (volumes = known));
  });
  if (!made) throw new Error("nothing was made");
  return { resources, volumes, made };
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
    const { resources, volumes } = await certificate({ from: "certManager", issuer }, undefined);
    const [made] = ofType(resources, "cert-manager.io/v1:Certificate");
    conform(Certificate, made?.inputs);
    expect(at(made, "spec")).toMatchObject({
      dnsNames: ["api.example.com", "www.example.com"],
      issuerRef: { group: "cert-manager.io", ...issuer },
      additionalOutputFormats: [{ type: "CombinedPEM" }],
    });
    expect(at(made, "metadata.annotations")).toEqual({ "pulumi.com/waitFor": "condition=Ready" });
    expect(volumes).toEqual([
      {
        name: "certificate",
        secret: {
          secretName: at(made, "spec.secretName"),
          items: [{ key: "tls-combined.pem", path: "tls.pem" }],
          defaultMode: 0o440,
        },
      },
    ]);
    expect(ofType(resources, "core/v1:Secret")).toEqual([]);
  });

  test.each<[CertificateSource, string, number]>([
    [{ from: "given" }, "/run/secrets/groundwork/tls.pem", 1],
    [{ from: "certManager", issuer: { kind: "Issuer", name: "ca" } }, "/run/secrets/certificate/tls.pem", 2],
  ])("lies beside the authority that the app is checked by: %o", async (source, file, count) => {
    const { resources, made } = await certificate(source, pem, true);
    expect(made.volumes).toHaveLength(count);
    expect(made.mounts).toHaveLength(count);
    expect(made).toMatchObject({
      certificateFile: file,
      checkedBy: { name: "app", caFile: "/run/secrets/groundwork/app-ca.crt" },
    });
    expect(at(ofType(resources, "core/v1:Secret")[0], "stringData")).toMatchObject({
      "app-ca.crt": "authority",
    });
  });

  test("from a vault needs one, and a bundle beside another source is refused", () => {
    const { edge, secrets } = stackSchema.shape;
    const sections = {
      edge: edge.parse({ certificate: { from: "keyVault", name: "api" } }),
      secrets: secrets.parse({}),
    };
    const problems = crossChecks(
      sections,
      new Set(["tlsBundle", "internalCa", "postgresTls", "redisTls", "appTls", "azuriteTls", "ageIdentity"]),
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
