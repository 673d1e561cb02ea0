import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import type { DocumentSummary, StoredDocument } from "../src/documents/document.ts";
import { conforming } from "./support/conformance.ts";
import { asSuperuser, newDatabase } from "./support/postgres.ts";
import { newTenant, startTestService, type TestService } from "./support/service.ts";

interface Page {
  items: DocumentSummary[];
  nextCursor: string | null;
}

let service: TestService;
let database: string;
let tenant: string;
let admin: string;
beforeAll(async () => {
  database = await newDatabase(inject("postgres"));
  service = conforming(
    await startTestService(inject("postgres"), database, inject("redis"), { bodyLimitKiB: 64 }),
  );
  tenant = await newTenant(inject("postgres"), database);
  admin = await service.token("admin", tenant);
});
afterAll(() => service.stop());

const create = (body: unknown) => service.call("POST", "/api/v1/documents", { token: admin, body });

describe("a document", () => {
  it("is created, read, changed and deleted", async () => {
    const created = await create({ title: " 議事録 ", content: "内容" });
    expect(created.status).toBe(201);
    const document = created.body as StoredDocument;
    expect(document).toMatchObject({ title: "議事録", content: "内容", createdBy: "user-admin" });
    const path = created.headers.get("location") ?? "";
    expect(path).toBe(`/api/v1/documents/${document.id}`);
    expect(created.headers.get("cache-control")).toBe("no-store");

    const read = await service.call("GET", path, { token: admin });
    expect(read).toMatchObject({ status: 200, body: document });
    const again = await service.call("GET", path, { token: admin });
    expect(again.body).toEqual(document);

    const changed = await service.call("PUT", path, { token: admin, body: { title: "a", content: "" } });
    expect(changed).toMatchObject({ status: 200, body: { id: document.id, title: "a", content: "" } });
    const afterChange = await service.call("GET", path, { token: admin });
    expect(afterChange.body).toEqual(changed.body);

    expect((await service.call("DELETE", path, { token: admin })).status).toBe(204);
    for (const method of ["GET", "DELETE"]) {
      expect((await service.call(method, path, { token: admin })).status).toBe(404);
    }
    const gone = await service.call("PUT", path, { token: admin, body: { title: "a", content: "" } });
    expect(gone.status).toBe(404);
  });

  it.each<[unknown, string[]]>([
    [{}, ["title", "content"]],
    [{ title: "  ", content: "c" }, ["title"]],
    [{ title: "x".repeat(201), content: "c" }, ["title"]],
    [{ title: "t", content: 7 }, ["content"]],
    [{ title: "t\u0000", content: "c" }, ["title"]],
    [{ title: "t", content: "c", tenant_id: "x", id: "y" }, ["tenant_id", "id"]],
    [[], ["body"]],
    ['{"title":"t","content":"c","__proto__":{"admin":true}}', ["__proto__"]],
    [undefined, ["body"]],
  ])("is refused as %j with a problem that names the fields", async (body, fields) => {
    const answer = await create(body);
    expect(answer.status).toBe(400);
    expect(answer.headers.get("content-type")).toBe("application/problem+json; charset=utf-8");
    const problem = answer.body as {
      status: number;
      title: string;
      errors: { field: string }[];
      instance: string;
    };
    expect(problem).toMatchObject({ type: "about:blank", title: "Bad Request", status: 400 });
    expect(problem.errors.map(({ field }) => field)).toEqual(fields);
    expect(problem.instance).toBe(`urn:request:${answer.headers.get("x-request-id") ?? ""}`);
  });

  it.each([
    ["{", 400],
    ["7", 400],
    [JSON.stringify({ title: "t", content: "x".repeat(65 * 1024) }), 413],
  ])("is refused as a problem when the body is %.20s", async (body, status) => {
    const answer = await create(body);
    expect(answer).toMatchObject({ status, body: { status } });
  });

  it.each(["1", "7d444840-9dc0-41d8-b245-1ef6a4d4fc9a'--", "%00"])("cannot have the id %s", async (id) => {
    const answer = await service.call("GET", `/api/v1/documents/${id}`, { token: admin });
    expect(answer).toMatchObject({ status: 400, body: { errors: [{ field: "id" }] } });
  });

  it("in a path that cannot be decoded is a problem, not a crash", async () => {
    expect((await service.call("GET", "/api/v1/documents/%E0%A4%A", { token: admin })).status).toBe(400);
  });

  it("never makes the service fail, whatever is written", async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.json(), fc.string({ unit: "binary" })), async (body) => {
        expect((await create(body)).status).toBeLessThan(500);
      }),
      { numRuns: 60 },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit: "binary", maxLength: 50 }),
        fc.string({ unit: "binary", maxLength: 50 }),
        async (title, content) => {
          const answer = await create({ title, content });
          expect([201, 400]).toContain(answer.status);
        },
      ),
      { numRuns: 60 },
    );
  }, 60_000);
});

describe("the list", () => {
  it("gives each document exactly once, newest first, whatever the page size and equal times", async () => {
    const owner = await newTenant(inject("postgres"), database);
    const token = await service.token("viewer", owner);
    // 40 documents at only 5 different times.
    await asSuperuser(inject("postgres"), database, (client) =>
      client.query(
        `insert into documents (tenant_id, title, content, created_by, created_at)
         select $1, n::text, '', 'test', timestamptz '2026-01-01' + (n % 5) * interval '1 ms'
         from generate_series(1, 40) n`,
        [owner],
      ),
    );
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 45 }), async (limit) => {
        const seen: DocumentSummary[] = [];
        let cursor: string | null = "";
        while (cursor !== null) {
          const query = `limit=${limit}${cursor && `&cursor=${cursor}`}`;
          const { body } = await service.call("GET", `/api/v1/documents?${query}`, { token });
          const page = body as Page;
          expect(page.items.length).toBeLessThanOrEqual(limit);
          seen.push(...page.items);
          cursor = page.nextCursor;
        }
        expect(seen).toHaveLength(40);
        expect(new Set(seen.map(({ id }) => id)).size).toBe(40);
        const order = seen.map(({ createdAt, id }) => `${createdAt} ${id}`);
        expect(order).toEqual(order.toSorted().reverse());
      }),
      { numRuns: 12 },
    );
  });

  it.each(["limit=0", "limit=101", "limit=1e1", "limit=1&limit=2", "cursor=x", "cursor=W10", "unknown=1"])(
    "is refused for ?%s with a problem that names the field",
    async (query) => {
      const answer = await service.call("GET", `/api/v1/documents?${query}`, { token: admin });
      expect(answer).toMatchObject({ status: 400, body: { errors: [{ field: query.split("=")[0] }] } });
    },
  );

  it("is refused, never failing, for any cursor that is not of an earlier answer", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.base64String(),
          fc.json().map((text) => Buffer.from(text).toString("base64url")),
        ),
        async (cursor) => {
          const path = `/api/v1/documents?cursor=${encodeURIComponent(cursor)}`;
          expect((await service.call("GET", path, { token: admin })).status).toBe(400);
        },
      ),
      { numRuns: 100 },
    );
  });
});
