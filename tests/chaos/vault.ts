/** Production's store of secrets goes away, while pods of the app have theirs out of it. A stand-in for the vault is asked. */
import type { V1Deployment, V1Secret, V1Volume } from "@kubernetes/client-node";
import { expect } from "vitest";
import { stringify } from "yaml";
import { secretsPath } from "../../components/podDefaults.ts";
import { secretsVolume } from "../../components/secrets/secretStore.ts";
import { mountRefused, startDriver } from "../cluster/secretsDriver.ts";
import { clientId, startVault, tenantId, vaultName, type StandInVault } from "../cluster/standInVault.ts";
import { get, kubectl, kubectlWith, nameOf, readyPodsOf, settled, waitFor } from "../cluster/support.ts";
import { answered, raised } from "./alerts.ts";
import { podsOf } from "./pods.ts";
import { duringWrites, type Outcome } from "./writes.ts";

const alert = "VaultUnreachable";
const app = "app";
const inApp = `--namespace=${app}`;
const secretClass = "app-from-vault";

/**
 * A pod is lost while nobody can reach the vault: the others serve, the one in its place waits and says why, and the alert comes.
 * Once the vault is there again, that pod must start by itself, and the alert go.
 */
export async function vaultAway(): Promise<Outcome> {
  await using undone = new AsyncDisposableStack();
  const files = await mountedFiles();
  const reads = Object.keys(files).map(storedAs);
  const vault = await startVault([{ clientId, subject: `system:serviceaccount:${app}:${app}`, reads }]);
  undone.defer(() => vault.stop());
  for (const [file, value] of Object.entries(files)) vault.put(storedAs(file), value);
  undone.defer(await startDriver(vault.env));
  const mounted = await secretsOfApp();
  undone.defer(() => mountInApp(mounted));
  await mountInApp(await outOfVault(Object.keys(files)));
  undone.defer(proberAsksNone);
  await proberAsks(vault);
  await answered("min(groundwork_vault_up) == 1", true, "an answer of the vault to every prober");

  const before = await readyPodsOf(app);
  const outcome = await duringWrites(async () => {
    vault.setAway(true);
    const known = (await podsOf(app)).map(nameOf);
    await kubectl("delete", "pod", inApp, before[0]?.metadata?.name ?? "", "--wait=false");
    const waiting = await waitFor("a pod in the place of the lost one", 30, async () => {
      const added = (await podsOf(app)).filter((pod) => !known.includes(nameOf(pod)));
      expect(added).toHaveLength(1);
      return added[0]?.metadata?.name ?? "";
    });
    await mountRefused(app, waiting, /vault\.azure\.net|microsoftonline\.com/);
    await raised(alert, true);
    expect(await readyPodsOf(app)).toHaveLength(before.length - 1);
    vault.setAway(false);
    await waitFor("the pod that waited for the vault", 180, async () => {
      expect((await readyPodsOf(app)).map(({ metadata }) => metadata?.name)).toContain(waiting);
    });
  });
  await raised(alert, false);
  return outcome;
}

/** File → what is in it, of the app's secrets as the stack has them. */
async function mountedFiles(): Promise<Record<string, string>> {
  const { data } = (await get("secret", inApp, "app-secrets")) as V1Secret;
  return Object.fromEntries(
    Object.entries(data ?? {}).map(([file, value]) => [file, Buffer.from(value, "base64").toString()]),
  );
}

/** Names in a vault have no dots. */
const storedAs = (file: string): string => file.replaceAll(".", "-");

/** A volume with these files out of the vault. */
async function outOfVault(files: readonly string[]): Promise<V1Volume> {
  const array = files.map((objectAlias) =>
    stringify({ objectName: storedAs(objectAlias), objectType: "secret", objectAlias }),
  );
  const manifest = {
    apiVersion: "secrets-store.csi.x-k8s.io/v1",
    kind: "SecretProviderClass",
    metadata: { name: secretClass, namespace: app },
    spec: {
      provider: "azure",
      parameters: {
        keyvaultName: vaultName,
        tenantId,
        clientID: clientId,
        objects: stringify({ array }),
      },
    },
  };
  await kubectlWith(JSON.stringify(manifest), "apply", "--filename=-");
  const volumeAttributes = { secretProviderClass: secretClass };
  return {
    name: secretsVolume,
    csi: { driver: "secrets-store.csi.k8s.io", readOnly: true, volumeAttributes },
  };
}

async function volumesOfApp(): Promise<V1Volume[]> {
  return ((await get("deployment", inApp, app)) as V1Deployment).spec?.template.spec?.volumes ?? [];
}

/** The volume that the app's pods have their secrets from. */
async function secretsOfApp(): Promise<V1Volume> {
  const found = (await volumesOfApp()).find(({ name }) => name === secretsVolume);
  if (!found) throw new Error(`the app's pods have no volume ${secretsVolume}`);
  return found;
}

/** Puts another in its place. */
async function mountInApp(value: V1Volume): Promise<void> {
  const index = (await volumesOfApp()).findIndex(({ name }) => name === secretsVolume);
  const patch = [{ op: "replace", path: `/spec/template/spec/volumes/${index}`, value }];
  await kubectl("patch", inApp, `deployment/${app}`, "--type=json", `--patch=${JSON.stringify(patch)}`);
  await settled(app, app);
}

const monitoring = "monitoring";
const prober = "prober";
const policy = "prober-to-stand-in-vault";

/** As in production, where the stack has a vault. */
async function proberAsks({ host, port }: StandInVault): Promise<void> {
  const manifest = {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: policy, namespace: monitoring },
    spec: {
      podSelector: { matchLabels: { "app.kubernetes.io/name": prober } },
      policyTypes: ["Egress"],
      egress: [{ to: [{ ipBlock: { cidr: `${host}/32` } }], ports: [{ port }] }],
    },
  };
  await kubectlWith(JSON.stringify(manifest), "apply", "--filename=-");
  await setInProber(`VAULT_URL=https://${host}:${port}`, `SSL_CERT_FILE=${secretsPath}/internal-ca.crt`);
}

async function proberAsksNone(): Promise<void> {
  await setInProber("VAULT_URL-", "SSL_CERT_FILE-");
  await kubectl("delete", "networkpolicy", `--namespace=${monitoring}`, policy, "--ignore-not-found");
}

async function setInProber(...variables: string[]): Promise<void> {
  await kubectl("set", "env", `--namespace=${monitoring}`, `deployment/${prober}`, ...variables);
  await settled(monitoring, prober);
}
