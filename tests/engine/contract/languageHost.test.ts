import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TestProject } from "../support.ts";

let project: TestProject;

beforeAll(async () => {
  project = await TestProject.create("contract-host");
});

afterAll(async () => {
  await project.dispose();
});

describe("running a program", () => {
  it("hands it configuration, arguments and stack, and takes its outputs and what it prints", async () => {
    await project.run(["config", "set", "size", "3"]);
    await project.run(["config", "set", "--secret", "word", "not-for-logs"]);
    await project.program(`"use strict";
      const pulumi = require("@pulumi/pulumi");
      const config = new pulumi.Config();
      console.log("said by the program");
      exports.stack = [pulumi.getProject(), pulumi.getStack()].join("/");
      exports.size = config.requireNumber("size");
      exports.word = config.requireSecret("word");
      exports.dryRun = pulumi.runtime.isDryRun();`);
    expect((await project.preview()).text).toContain("said by the program");
    const up = await project.up();
    expect(up.text).toContain("said by the program");
    expect(up.text).not.toContain("not-for-logs");
    const expected = { stack: "contract-host/test", size: 3, dryRun: false };
    expect(await project.outputs()).toEqual({ ...expected, word: "not-for-logs" });
    expect(await project.outputs("redacted")).toEqual({ ...expected, word: "[secret]" });
    expect(await project.filesWith("not-for-logs")).toEqual([]);
  });

  it("fails when the program throws, with message and stack, and deletes nothing", async () => {
    const before = await project.outputs();
    await project.program(`"use strict";
      function deepInside() { throw new Error("the program's own mistake"); }
      deepInside();`);
    const up = await project.up();
    expect(up.exitCode).not.toBe(0);
    expect(up.text).toContain("the program's own mistake");
    expect(up.text).toMatch(/deepInside .*index\.js/);
    expect(await project.outputs()).toEqual(before);
  });

  it("fails when the program rejects a promise or exits by itself", async () => {
    await project.program(`"use strict"; Promise.reject(new Error("nobody caught this"));`);
    const rejected = await project.up();
    expect(rejected.exitCode).not.toBe(0);
    expect(rejected.text).toContain("nobody caught this");
    await project.program(`"use strict"; process.exit(7);`);
    const exited = await project.up();
    expect(exited.exitCode).not.toBe(0);
    expect(exited.text).toContain("7");
  });

  it("honours the project's runtime options: TypeScript without checks, arguments for Node", async () => {
    const options = { typescript: true, tsconfig: "tsconfig.run.json", nodeargs: "--title=from-options" };
    await project.file(
      "Pulumi.yaml",
      JSON.stringify({ name: "contract-host", main: "index.ts", runtime: { name: "nodejs", options } }),
    );
    const compilerOptions = {
      module: "commonjs",
      moduleResolution: "node10",
      target: "es2023",
      noCheck: true,
    };
    await project.file("tsconfig.run.json", JSON.stringify({ compilerOptions }));
    await project.file(
      "index.ts",
      `const notChecked: string = 1;\nexport const title = process.title;\nexport const value = notChecked;\n`,
    );
    const up = await project.up();
    expect(up.text).not.toContain("error");
    expect(await project.outputs()).toEqual({ title: "from-options", value: 1 });
  });
});
