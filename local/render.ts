/**
 * Writes every Kubernetes object of a stack as YAML into `.render/<stack>/`, or the directory that is named: the program
 * runs against mocks, so no cluster and no cloud is asked. Secrets and what only an `up` can know stand there as
 * `<named placeholders>`.
 */
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { stringify } from "yaml";
import { repository } from "./stack.ts";
import { stackSettings } from "./stackValues.ts";

type Values = Record<string, unknown>;

export async function render(stack: string, directoryName = join(".render", stack)): Promise<void> {
  const { config, secretKeys } = await stackSettings(stack, true);
  pulumi.runtime.setAllConfig(config);
  process.env["PULUMI_CONFIG_SECRET_KEYS"] = JSON.stringify(secretKeys);

  const objects: Values[] = [];
  await pulumi.runtime.setMocks(
    {
      call: ({ inputs }) => inputs as Values,
      newResource: ({ type, name, inputs, custom }) => {
        if (custom && type.startsWith("kubernetes:")) objects.push(redact(inputs, name) as Values);
        return { id: `<id of ${name}>`, state: { ...(inputs as Values), ...unknownOutputs(type, name) } };
      },
    },
    "groundwork",
    stack,
  );
  await import("../index.ts");
  await pulumi.runtime.disconnect();

  const target = join(repository, directoryName);
  await rm(target, { recursive: true, force: true });
  for (const object of objects) {
    const { name, namespace } = object["metadata"] as { name: string; namespace?: string };
    const directory = join(target, namespace ?? "cluster");
    await mkdir(directory, { recursive: true });
    await writeFile(
      join(directory, `${String(object["kind"]).toLowerCase()}-${name}.yaml`),
      stringify(object),
    );
  }
  process.stdout.write(`${objects.length} objects in ${directoryName}/\n`);
}

/** What Azure and the generators of passwords would answer. */
function unknownOutputs(type: string, name: string): Values {
  if (type.startsWith("random:")) return { result: `<generated ${name}>`, base64: `<generated ${name}>` };
  if (type.startsWith("docker:")) return { repoDigest: `<digest of ${name}>` };
  if (!type.startsWith("azure-native:")) return {};
  return {
    name: `<name of ${name}>`,
    clientId: `<client id of ${name}>`,
    principalId: `<principal id of ${name}>`,
  };
}

/** The inputs with every secret replaced by a name. */
function redact(value: unknown, path: string): unknown {
  if (Array.isArray(value)) return value.map((entry, index) => redact(entry, `${path}.${index}`));
  if (typeof value !== "object" || value === null) return value;
  if ((value as Values)[pulumi.runtime.specialSigKey] === pulumi.runtime.specialSecretSig) {
    const inner = (value as Values)["value"];
    const isMap = typeof inner === "object" && inner !== null;
    return isMap
      ? Object.fromEntries(Object.keys(inner).map((key) => [key, `<secret ${path}.${key}>`]))
      : `<secret ${path}>`;
  }
  return Object.fromEntries(
    Object.entries(value).map(([key, entry]) => [key, redact(entry, `${path}.${key}`)]),
  );
}
