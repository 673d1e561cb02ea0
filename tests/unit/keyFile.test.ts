import { describe, expect, test } from "vitest";

import { keepKeys, keysSchema } from "../../components/keyFile.ts";
import { KubernetesSecretStore } from "../../components/secrets/kubernetesSecretStore.ts";
import { at, ofType, register } from "./mocks.ts";

/** The files of keys as a workload is given them. */
async function filesOf(keys: object): Promise<{ signing: unknown; fields: unknown }> {
  const registered = await register(() => {
    const secrets = new KubernetesSecretStore("secrets");
    const { signing, fields } = keepKeys(secrets, keysSchema.parse(keys), true);
    secrets.mount("app", { namespace: "app", files: { signing, fields } });
  });
  const files = at(ofType(registered, ":Secret")[0], "stringData") as { signing: string; fields: string };
  return { signing: JSON.parse(files.signing), fields: JSON.parse(files.fields) };
}

describe("the keys of the app", () => {
  test("are one of each kind, until told otherwise", async () => {
    expect(await filesOf({})).toEqual({
      signing: { active: "1", keys: { "1": "generated-jwt-signing-key" } },
      fields: { active: "1", keys: { "1": "generated-field-key" } },
    });
  });

  test.each([
    [[1, 2], "1", { "1": "generated-field-key", "2": "generated-field-key-2" }],
    [[2, 1], "2", { "1": "generated-field-key", "2": "generated-field-key-2" }],
    [[2], "2", { "2": "generated-field-key-2" }],
  ])("of the generations %j are all in the file, and the first is active", async (fields, active, keys) => {
    expect((await filesOf({ fields })).fields).toEqual({ active, keys });
  });

  test("are refused where a generation would be skipped", () => {
    expect(() => keysSchema.parse({ signing: [1, 3] })).toThrow(/two that follow each other/);
  });
});
