import { describe, expect, test } from "vitest";

import { keepKeys, keyFile, keysSchema } from "../../components/keyFile.ts";
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

/** The key out of what the mocks make of a password. */
const key = (name: string): string => Buffer.from(`generated-${name}`, "base64").toString("base64");

describe("the keys of the app", () => {
  test("are one of each kind, until told otherwise", async () => {
    expect(await filesOf({})).toEqual({
      signing: { active: "1", keys: { "1": key("jwt-signing-key") } },
      fields: { active: "1", keys: { "1": key("field-key") } },
    });
  });

  test.each([
    [[1, 2], "1", { "1": key("field-key"), "2": key("field-key-2") }],
    [[2, 1], "2", { "1": key("field-key"), "2": key("field-key-2") }],
    [[2], "2", { "2": key("field-key-2") }],
  ])("of the generations %j are all in the file, and the first is active", async (fields, active, keys) => {
    expect((await filesOf({ fields })).fields).toEqual({ active, keys });
  });

  test.each([
    ["jwt-signing-key", 48],
    ["field-key", 32],
  ])(
    "have in %s as many random bytes as they need, and none of them in a resource's id",
    async (name, bytes) => {
      const registered = await register(() => {
        keepKeys(new KubernetesSecretStore("secrets"), keysSchema.parse({}), false);
      });
      const made = registered.find((resource) => resource.name === name);
      expect(made?.type).toBe("random:index/randomPassword:RandomPassword");
      const letters = "A".repeat(Number(at(made, "length")));
      expect(Buffer.from(letters, "base64")).toHaveLength(bytes);
      expect(at(made, "overrideSpecial")).toBe("+/");
    },
  );

  test("of fields are another stack's where they are given, and none is made", async () => {
    const given = JSON.stringify({ active: "1", keys: { "1": Buffer.alloc(32).toString("base64") } });
    expect(keyFile.parse(given)).toBe(given);
    const registered = await register(() => {
      const secrets = new KubernetesSecretStore("secrets");
      const { fields } = keepKeys(secrets, keysSchema.parse({}), true, given);
      secrets.mount("app", { namespace: "app", files: { fields } });
    });
    expect(at(ofType(registered, ":Secret")[0], "stringData")).toEqual({ fields: given });
    expect(registered.map(({ name }) => name)).not.toContain("field-key");
  });

  test.each(["", "{}", '{"active":"2","keys":{"1":"AAAA"}}', '{"active":"1","keys":{"1":"AAAA"}}'])(
    "of another stack are refused as %j",
    (text) => {
      expect(() => keyFile.parse(text)).toThrow("32 bytes in base64");
    },
  );

  test("are refused where a generation would be skipped", () => {
    expect(() => keysSchema.parse({ signing: [1, 3] })).toThrow(/two that follow each other/);
  });
});
