import { rm, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { conforming } from "./support/conformance.ts";
import { eventually } from "./support/processes.ts";
import { newDatabase } from "./support/postgres.ts";
import { startTestService, type TestService } from "./support/service.ts";
import { switchFile } from "./support/users.ts";

const postgres = inject("postgres");
let service: TestService;
let noticeFile: string;

beforeAll(async () => {
  noticeFile = await switchFile("");
  const database = await newDatabase(postgres);
  service = conforming(await startTestService(postgres, database, inject("redis"), { noticeFile }));
});
afterAll(() => service.stop());

/** What somebody is told who is nobody to the service. */
const told = async () => service.call("GET", "/api/v2/notice");

describe("the notice to users", () => {
  it("is what its file says, while the service runs, and none while there is no file", async () => {
    expect(await told()).toMatchObject({ status: 200, body: { notice: null } });
    await writeFile(noticeFile, " 回答は簡易です。\nSign-in is by password.\n");
    await eventually(async () => {
      expect((await told()).body).toEqual({ notice: "回答は簡易です。\nSign-in is by password." });
    });
    await rm(noticeFile);
    await eventually(async () => {
      expect((await told()).body).toEqual({ notice: null });
    });
  });

  it("is none where nobody has named a file", async () => {
    const without = await startTestService(postgres, service.databaseConfig.database, inject("redis"));
    expect((await without.call("GET", "/api/v2/notice")).body).toEqual({ notice: null });
    await without.stop();
  });
});
