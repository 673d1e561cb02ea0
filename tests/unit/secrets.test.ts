import * as pulumi from "@pulumi/pulumi";
import { describe, expect, test } from "vitest";

import { WorkloadIdentities } from "../../components/azure/identities.ts";
import { KeyVaultSecretStore } from "../../components/secrets/keyVaultSecretStore.ts";
import { KubernetesSecretStore } from "../../components/secrets/kubernetesSecretStore.ts";
import { at, ofType, register } from "./mocks.ts";

/** A store whose workloads have identities of their own. */
function keyVaultStore(): KeyVaultSecretStore {
  return new KeyVaultSecretStore("secrets", {
    resourceGroupName: "group",
    vaultId: "/vaults/vault",
    vaultName: "vault",
    vaultUri: pulumi.output("https://vault.example.com"),
    vaultNames: new pulumi.ComponentResource("test:names", "names"),
    tenantId: "tenant",
    identities: new WorkloadIdentities("identities", {
      resourceGroupName: "group",
      location: "japaneast",
      subscriptionId: "subscription",
      oidcIssuerUrl: "https://issuer.example.com/",
    }),
  });
}

describe("the secret stores", () => {
  test("Kubernetes: one Secret for each workload, with just its files", async () => {
    const resources = await register(() => {
      const store = new KubernetesSecretStore("secrets");
      const password = store.generate("password");
      store.generate("other");
      store.mount("app", { namespace: "app", files: { "database-password": password } });
    });
    const [secret, ...more] = ofType(resources, ":Secret");
    expect(more).toEqual([]);
    expect(at(secret, "metadata")).toMatchObject({ name: "app-secrets", namespace: "app" });
    expect(Object.keys(at(secret, "stringData") as object)).toEqual(["database-password"]);
  });

  test("Kubernetes: refuses to mount what only a vault holds", async () => {
    await register(() => {
      const store = new KubernetesSecretStore("secrets");
      expect(() =>
        store.mount("edge", { namespace: "edge", files: { "tls.pem": { name: "edge-tls" } } }),
      ).toThrow(/"edge-tls" has no value/);
    });
  });

  test("Key Vault: the value goes to the vault, pods get its name, and no Kubernetes Secret exists", async () => {
    const resources = await register(() => {
      const store = keyVaultStore();
      store.generate("other");
      const volume = store.mount("app", {
        namespace: "app",
        files: { "database-password": store.generate("db") },
      });
      pulumi.output(volume).apply((resolved) => {
        expect(resolved).toMatchObject({ csi: { driver: "secrets-store.csi.k8s.io", readOnly: true } });
      });
    });
    expect(ofType(resources, ":Secret").map(({ type }) => type)).toEqual([
      "azure-native:keyvault:Secret",
      "azure-native:keyvault:Secret",
    ]);
    expect(ofType(resources, ":RoleAssignment").map((role) => at(role, "scope"))).toEqual([
      "/vaults/vault/secrets/db",
    ]);
    expect(at(ofType(resources, ":FederatedIdentityCredential")[0], "subject")).toBe(
      "system:serviceaccount:app:app",
    );
    const providerClass = resources.find(({ type }) => type.endsWith(":SecretProviderClass"));
    expect(at(providerClass, "spec.parameters")).toMatchObject({
      keyvaultName: "vault",
      clientID: "client-of-workload-app",
    });
    expect(JSON.stringify(providerClass)).not.toContain("generated-");
    expect(at(providerClass, "spec.parameters.objects")).toContain("objectAlias: database-password");
  });

  test.each([":RoleAssignment", ":FederatedIdentityCredential"])(
    "Key Vault: a pod is told what to mount once it may read it, that is after the %s",
    async (late) => {
      const resources = await register(
        () => {
          const store = keyVaultStore();
          const files = { "database-password": store.generate("db"), key: store.keep("key") };
          store.mount("app", { namespace: "app", files });
        },
        (type) => type.endsWith(late),
      );
      const places = (kind: string) =>
        resources.flatMap(({ type }, place) => (type.endsWith(kind) ? [place] : []));
      expect(places(late)).not.toEqual([]);
      expect(places(":SecretProviderClass")).toHaveLength(1);
      expect(Math.max(...places(late))).toBeLessThan(Math.min(...places(":SecretProviderClass")));
    },
  );
});
