import * as pulumi from "@pulumi/pulumi";
import { describe, expect, test } from "vitest";

import { Azurite } from "../../components/azurite.ts";
import { blobClient, type BlobStore } from "../../components/blobStore.ts";
import { KubernetesSecretStore } from "../../components/secrets/kubernetesSecretStore.ts";
import type { SecretStore } from "../../components/secrets/secretStore.ts";
import { at, ofType, register } from "./mocks.ts";

const key = "generated-azurite-account-key";
const pem = (part: string, text: string) => `-----BEGIN ${part}-----\n${text}\n-----END ${part}-----\n`;

async function azurite(chain = "chain", privateKey = "hush") {
  let store: BlobStore | undefined;
  const all = await register(() => {
    const secrets = new KubernetesSecretStore("secrets");
    const bundle = secrets.keep("azurite-tls", pem("CERTIFICATE", chain) + pem("EC PRIVATE KEY", privateKey));
    ({ store } = new Azurite("azurite", {
      namespace: pulumi.output("data"),
      image: "azurite:1",
      storageGiB: 3,
      certificate: { bundle, ca: secrets.keep("internal-ca", "authority") },
      secrets,
    }));
  });
  if (!store) throw new Error("the component returned no store");
  return { all, store };
}

function resolved<T>(value: pulumi.Input<T> | undefined): Promise<unknown> {
  return new Promise((resolve) => {
    pulumi.output(value).apply(resolve);
  });
}

describe("Azurite", () => {
  test("keeps its blobs on a volume that goes with the stack", async () => {
    const { all } = await azurite();
    const [set] = ofType(all, ":StatefulSet");
    expect(at(set, "spec.volumeClaimTemplates.0.spec.resources.requests.storage")).toBe("3Gi");
    expect(at(set, "spec.persistentVolumeClaimRetentionPolicy.whenDeleted")).toBe("Delete");
    expect(at(set, "spec.template.spec.containers.0.volumeMounts.0")).toEqual({
      name: "data",
      mountPath: "/data",
    });
  });

  test("shows the account's key to nobody but the Secret that its pod mounts", async () => {
    const { all } = await azurite();
    const holders = all.filter((resource) => JSON.stringify(resource.inputs).includes(key));
    expect(holders.map(({ type, name }) => `${type} ${name}`)).toEqual([
      "kubernetes:core/v1:Secret azurite-secrets",
    ]);
    expect(at(holders[0], "stringData.azurite-accounts")).toBe(`groundwork:${key}`);
  });

  test("asks for a key that is base64, as the emulator demands", async () => {
    const { all } = await azurite();
    const [password] = ofType(all, ":RandomPassword");
    expect(Number(at(password, "length")) % 4).toBe(0);
    expect(at(password, "special")).toBe(false);
  });

  test("tells its clients the address that its Service answers at", async () => {
    const { all, store } = await azurite();
    const [service] = ofType(all, ":Service");
    expect(at(service, "spec.ports.0.port")).toBe(10000);
    expect(await resolved(store.endpoint)).toBe("https://azurite.data.svc.cluster.local:10000/groundwork");
    if (store.access.kind !== "connectionString") throw new Error("the emulator knows no identities");
    expect(await resolved(store.access.secret.value)).toBe(
      "DefaultEndpointsProtocol=https;AccountName=groundwork;" +
        `AccountKey=${key};BlobEndpoint=https://azurite.data.svc.cluster.local:10000/groundwork;`,
    );
  });

  test("starts anew with a renewed certificate, which it reads when it starts, and shows its key to nobody else", async () => {
    const annotations = async (chain: string, privateKey: string) => {
      const { all } = await azurite(chain, privateKey);
      const holders = all.filter((resource) => JSON.stringify(resource.inputs).includes(privateKey));
      expect(holders.map(({ name }) => name)).toEqual(["azurite-secrets"]);
      const [set] = ofType(all, ":StatefulSet");
      return at(set, "spec.template.metadata.annotations");
    };
    const first = await annotations("chain", "hush");
    expect(await annotations("chain", "hush")).toEqual(first);
    expect(await annotations("renewed", "hush")).not.toEqual(first);
  });

  test("gives its clients the authority that its certificate is checked against", async () => {
    const { store } = await azurite();
    const { files, env } = blobClient(store, "backup", "data");
    expect(await resolved(env["REQUESTS_CA_BUNDLE"])).toBe("/run/secrets/groundwork/blob-store-ca.crt");
    expect(await resolved(files["blob-store-ca.crt"]?.value)).toBe("authority");
  });

  test("refuses a secret store that hides its values, and says what to set", async () => {
    const hidden: Pick<SecretStore, "generate"> = { generate: (name) => ({ name }) };
    await expect(
      register(() => {
        new Azurite("azurite", {
          namespace: pulumi.output("data"),
          image: "azurite:1",
          certificate: { bundle: { name: "azurite-tls" }, ca: { name: "internal-ca" } },
          secrets: hidden as SecretStore,
        });
      }),
    ).rejects.toThrow("secrets.store: kubernetes");
  });
});
