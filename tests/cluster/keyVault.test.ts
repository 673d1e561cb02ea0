/**
 * Production's way of a secret into a pod: what the stack renders for Azure, mounted by the Secrets Store CSI driver and its
 * provider for Azure on this node, out of a stand-in for Entra and Key Vault.
 */
import type { V1Deployment, V1Pod } from "@kubernetes/client-node";
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { globSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { repository } from "../../local/stack.ts";
import { driverLog, mountRefused, startDriver } from "./secretsDriver.ts";
import { clientId, startVault, vaultName, type StandInVault } from "./standInVault.ts";
import { get, kubectl, kubectlWith, waitFor } from "./support.ts";

const namespace = "cluster-tests-key-vault";
const inNamespace = `--namespace=${namespace}`;
/** An object as the stack renders it, of which only this much is looked at. */
const objectShape = z.looseObject({ metadata: z.looseObject({ name: z.string() }) });
const classShape = objectShape.extend({
  spec: z.looseObject({ parameters: z.looseObject({ objects: z.string() }) }),
});
const podShape = z.looseObject({
  containers: z.tuple([z.looseObject({ securityContext: z.unknown() })]),
  volumes: z.array(z.looseObject({ csi: z.looseObject({}).optional() })),
});
const deploymentShape = z.object({ spec: z.object({ template: z.object({ spec: podShape }) }) });
const mountShape = z.object({ objectName: z.string(), objectAlias: z.string() });

let vault: StandInVault;
let stopDriver: () => Promise<void>;
/** Every SecretProviderClass of production. */
let classes: z.infer<typeof classShape>[];
/** Path in the pod → name of the secret in the vault. */
const files = new Map<string, string>();
const values = new Map<string, string>();
let podSpec: Record<string, unknown>;

async function rendered(file: string): Promise<unknown> {
  return parse(await readFile(join(repository, ".render", "prod", file), "utf8"));
}

function put(name: string): void {
  const value = randomBytes(16).toString("hex");
  values.set(name, value);
  vault.put(name, value);
}

async function startPod(name: string, serviceAccountName = "app"): Promise<void> {
  const pod = { apiVersion: "v1", kind: "Pod", metadata: { name }, spec: { ...podSpec, serviceAccountName } };
  await kubectlWith(JSON.stringify(pod), "create", inNamespace, "--filename=-");
}

async function running(name: string, timeoutSeconds = 60): Promise<void> {
  await waitFor(`${name} running`, timeoutSeconds, async () => {
    expect(await phaseOf(name)).toBe("Running");
  });
}

async function phaseOf(name: string): Promise<string | undefined> {
  return ((await get("pod", inNamespace, name)) as V1Pod).status?.phase;
}

/** What the pod's files hold. */
async function read(name: string): Promise<Map<string, string>> {
  const program = `const fs = require("node:fs");
    console.log(JSON.stringify(process.argv.slice(1).map((file) => [file, fs.readFileSync(file, "utf8")])));`;
  const out = await kubectl("exec", inNamespace, name, "--", "node", "--eval", program, ...files.keys());
  return new Map(JSON.parse(out) as [string, string][]);
}

const expected = (): Map<string, string> =>
  new Map([...files].map(([file, secret]) => [file, values.get(secret) ?? ""]));

/** Where the pod has the files of a class. */
const folder = ({ metadata }: z.infer<typeof objectShape>): string => `/run/secrets/${metadata.name}`;

/** Which secret each file of a class is. */
function filesOf(secretClass: z.infer<typeof classShape>): [string, string][] {
  const objects: unknown = parse(secretClass.spec.parameters.objects);
  return z
    .object({ array: z.array(z.string()) })
    .parse(objects)
    .array.map((text) => {
      const { objectName, objectAlias } = mountShape.parse(parse(text));
      return [join(folder(secretClass), objectAlias), objectName];
    });
}

/** Production's pod of the app with a program that does nothing, from the image that this stack has, and with the secrets of all. */
async function quietPod(): Promise<Record<string, unknown>> {
  const deployment = deploymentShape.parse(await rendered("app/deployment-app.yaml"));
  const { containers, volumes, ...spec } = deployment.spec.template.spec;
  const csi = volumes.find((volume) => volume.csi)?.csi;
  const here = (await get("deployment", "--namespace=app", "app")) as V1Deployment;
  const container = {
    name: "app",
    image: here.spec?.template.spec?.containers[0]?.image,
    command: ["node", "--eval", "setInterval(() => undefined, 1e6)"],
    securityContext: containers[0].securityContext,
    volumeMounts: classes.map((secretClass) => ({
      name: secretClass.metadata.name,
      mountPath: folder(secretClass),
      readOnly: true,
    })),
  };
  return {
    ...spec,
    terminationGracePeriodSeconds: 0,
    containers: [container],
    volumes: classes.map(({ metadata: { name } }) => ({
      name,
      csi: { ...csi, volumeAttributes: { secretProviderClass: name } },
    })),
  };
}

beforeAll(async () => {
  await promisify(execFile)("make", ["--silent", "render", "STACK=prod"], { cwd: repository });
  const found = globSync("*/secretproviderclass-*.yaml", { cwd: join(repository, ".render", "prod") });
  classes = await Promise.all(found.map(async (file) => classShape.parse(await rendered(file))));
  for (const [file, secret] of classes.flatMap(filesOf)) files.set(file, secret);
  podSpec = await quietPod();
  const subject = `system:serviceaccount:${namespace}:app`;
  vault = await startVault([{ clientId, subject, reads: [...files.values()] }]);
  for (const secret of new Set(files.values())) put(secret);
  stopDriver = await startDriver(vault.env);

  const home = objectShape.parse(await rendered("cluster/namespace-app.yaml"));
  const account = objectShape.parse(await rendered("app/serviceaccount-app.yaml"));
  const objects = [
    { ...home, metadata: { ...home.metadata, name: namespace } },
    { ...account, metadata: { namespace, name: "app" } },
    { ...account, metadata: { namespace, name: "stranger" } },
    ...classes.map(({ metadata: { name }, spec, ...secretClass }) => {
      const parameters = { ...spec.parameters, keyvaultName: vaultName, clientID: clientId };
      return { ...secretClass, metadata: { namespace, name }, spec: { ...spec, parameters } };
    }),
  ];
  for (const object of objects) await kubectlWith(JSON.stringify(object), "apply", "--filename=-");
});

afterAll(async () => {
  await kubectl("delete", "namespace", namespace, "--ignore-not-found", "--timeout=90s");
  await stopDriver();
  await vault.stop();
});

test("a pod has the secrets of every workload out of the vault, as the identity of its service account", async () => {
  await startPod("first");
  await running("first");
  expect(classes.length).toBeGreaterThan(10);
  expect(await read("first")).toEqual(expected());
});

test("with another service account it gets none, and the pod says why", async () => {
  await startPod("strange", "stranger");
  await mountRefused(namespace, "strange", /AADSTS700213/);
  expect(await phaseOf("strange")).toBe("Pending");
  await kubectl("delete", "pod", inNamespace, "strange");
});

test("a secret that is rotated in the vault arrives in the pod that runs", async () => {
  put("app-user-password");
  await waitFor("the new password", 180, async () => {
    expect(await read("first")).toEqual(expected());
  });
});

test("while the vault is away, pods go on with what they have, and new ones wait for it", async () => {
  const before = expected();
  vault.setAway(true);
  await startPod("second");
  await mountRefused(namespace, "second", /vault\.azure\.net|microsoftonline\.com/);
  // About every minute the kubelet has the driver look again for those that run, too; of these the driver alone tells.
  const known = (await driverLog()).length;
  await waitFor("the running pod refused", 180, async () => {
    expect((await driverLog()).slice(known)).toMatch(/pod="[^"]*\/first" isRemountRequest=true/);
  });
  expect(await read("first")).toEqual(before);
  expect(await phaseOf("second")).toBe("Pending");
  put("app-user-password");
  vault.setAway(false);
  await running("second", 180);
  expect(await read("second")).toEqual(expected());
  await waitFor("the new password", 180, async () => {
    expect(await read("first")).toEqual(expected());
  });
});
