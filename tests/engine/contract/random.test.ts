import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { operations, succeeded, TestProject } from "../support.ts";

let project: TestProject;

beforeAll(async () => {
  project = await TestProject.create("contract-random");
});

afterAll(async () => {
  await project.dispose();
});

const source = (keeper: string): string => `"use strict";
const random = require("@pulumi/random");
exports.password = new random.RandomPassword("password", { length: 24, special: false, minNumeric: 3, keepers: { generation: "${keeper}" } }).result;
exports.special = new random.RandomString("special", { length: 16, lower: false, upper: false, numeric: false, overrideSpecial: "_-" }).result;
exports.id = new random.RandomId("id", { byteLength: 4, prefix: "p-" }).hex;
exports.uuid = new random.RandomUuid("uuid").result;
exports.pet = new random.RandomPet("pet", { length: 2 }).id;
exports.bytes = new random.RandomBytes("bytes", { length: 32 }).base64;
`;

describe("random values", () => {
  it("are made as asked for, and what is a secret is marked as one", async () => {
    await project.program(source("1"));
    succeeded(await project.preview());
    succeeded(await project.up());
    const plain = await project.outputs();
    expect(plain["password"]).toMatch(/^(?=(.*\d){3})[A-Za-z0-9]{24}$/);
    expect(plain["special"]).toMatch(/^[_-]{16}$/);
    expect(plain["id"]).toMatch(/^p-[0-9a-f]{8}$/);
    expect(plain["uuid"]).toMatch(/^[0-9a-f-]{36}$/);
    expect(plain["pet"]).toMatch(/^[a-z]+-[a-z]+$/);
    expect(Buffer.from(String(plain["bytes"]), "base64")).toHaveLength(32);
    const shown = await project.outputs("redacted");
    expect([shown["password"], shown["bytes"]]).toEqual(["[secret]", "[secret]"]);
    expect(await project.filesWith(String(plain["password"]))).toEqual([]);
  });

  it("stay the same until a keeper changes", async () => {
    const before = await project.outputs();
    expect((await project.up()).changes).toEqual([]);
    await project.program(source("2"));
    const up = await project.up();
    expect(operations(up, "password")).toContain("replace");
    expect(up.changes.every(({ name }) => name === "password")).toBe(true);
    const after = await project.outputs();
    expect(after["password"]).not.toBe(before["password"]);
    expect({ ...after, password: "" }).toEqual({ ...before, password: "" });
  });

  it("are refused with the reason when they cannot be made", async () => {
    await project.program(`"use strict";
      const random = require("@pulumi/random");
      new random.RandomPassword("impossible", { length: 2, minNumeric: 5 });`);
    const up = await project.up();
    expect(up.exitCode).not.toBe(0);
    expect(up.text).toContain("length");
  });
});
