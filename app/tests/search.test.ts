import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import type { DocumentSummary, StoredDocument } from "../src/documents/document.ts";
import { asRole, asSuperuser, newDatabase } from "./support/postgres.ts";
import { eventually } from "./support/processes.ts";
import { newTenant, startTestService, type TestService } from "./support/service.ts";

const postgres = inject("postgres");
let service: TestService;
let database: string;
beforeAll(async () => {
  database = await newDatabase(postgres);
  service = await startTestService(postgres, database, inject("redis"), { bodyLimitKiB: 1024 });
});
afterAll(() => service.stop());

interface Page {
  items: DocumentSummary[];
  nextCursor: string | null;
}

async function tenantWith(documents: { title: string; content: string }[]): Promise<string> {
  const token = await service.token("editor", await newTenant(postgres, database));
  for (const body of documents) {
    const { status } = await service.call("POST", "/api/v2/documents", { token, body });
    expect(status).toBe(201);
  }
  return token;
}

async function page(token: string, parameters: Record<string, string>): Promise<Page> {
  const query = new URLSearchParams(parameters).toString();
  const { status, body } = await service.call("GET", `/api/v2/documents?${query}`, { token });
  expect(status, JSON.stringify(body)).toBe(200);
  return body as Page;
}

const titles = async (token: string, query: string) =>
  (await page(token, { query })).items.map(({ title }) => title);

it("finds what a dump brought back: the terms are in it, and are not made anew", async () => {
  await tenantWith([{ title: "Dumped", content: "with its terms" }]);
  const terms = await asSuperuser(postgres, database, async (client) => {
    // As pg_restore does it: triggers come after the rows.
    await client.query("set session_replication_role = replica");
    await client.query("create temporary table dumped as select * from documents where title = 'Dumped'");
    await client.query("delete from documents where title = 'Dumped'");
    await client.query("insert into documents select * from dumped");
    const { rows } = await client.query<{ search: string }>(
      "select search::text from documents where title = 'Dumped'",
    );
    return rows.map(({ search }) => search);
  });
  expect(terms).toEqual(["'dumped':1A 'its' 'terms' 'with'"]);
});

describe("a search", () => {
  let token: string;
  beforeAll(async () => {
    token = await tenantWith([
      { title: "東京都の予算", content: "令和八年度の予算案を検討した。" },
      { title: "議事録", content: "大阪で会議。サーバーの移行はKubernetesへ、次回は京都にて。" },
      { title: "Café menu", content: "Coffee, tea and ｶﾚｰﾗｲｽ for the ＶＩＰ guests" },
      { title: "꿈의 도시", content: "𠮷野家の牛丼 🚀発射" },
      // Parted by a space that is none of ASCII's.
      { title: "ᚐᚑ\u1680ᚒᚓ", content: "ᚔᚕ\u1680ᚖᚗ" },
    ]);
  });

  it.each<[string, string[]]>([
    // Pairs of characters, as in most Japanese search: 京都 is also found inside 東京都.
    ["東京都", ["東京都の予算"]],
    ["京都", ["東京都の予算", "議事録"]],
    ["予算案", ["東京都の予算"]],
    ["都", ["東京都の予算", "議事録"]],
    ["た", ["東京都の予算"]],
    ["サーバー", ["議事録"]],
    ["ｻｰﾊﾞｰ", ["議事録"]],
    ["カレーライス", ["Café menu"]],
    ["kubernetes", ["議事録"]],
    ["Kubernetesへ 会議", ["議事録"]],
    ["会議 予算", []],
    ["vip　ＣＯＦＦＥＥ", ["Café menu"]],
    ["café", ["Café menu"]],
    ["cafe\u0301", ["Café menu"]],
    ["도시", ["꿈의 도시"]],
    ["𠮷", ["꿈의 도시"]],
    ["𠮷野家", ["꿈의 도시"]],
    ["🚀", ["꿈의 도시"]],
    ["ᚐᚑ\u1680ᚖᚗ", ["ᚐᚑ\u1680ᚒᚓ"]],
    ["都東", []],
    ["coff", []],
    ["'':*&|!<->()\\ --;", []],
  ])("for %s finds %j", async (query, expected) => {
    expect((await titles(token, query)).sort()).toEqual(expected.toSorted());
  });

  it("ranks a hit in the title above one in the content, and newer above older", async () => {
    const ours = await tenantWith([
      { title: "検索の設計", content: "古い" },
      { title: "一", content: "検索の設計について" },
      { title: "検索の設計", content: "新しい" },
      { title: "二", content: "検索の設計について" },
    ]);
    const { items } = await page(ours, { query: "検索の設計" });
    expect(items.map(({ title }) => title)).toEqual(["検索の設計", "検索の設計", "二", "一"]);
    expect(items[0]?.createdAt).not.toBe(items[1]?.createdAt);
    expect(new Date(items[0]?.createdAt ?? 0).getTime()).toBeGreaterThan(
      Date.parse(items[1]?.createdAt ?? ""),
    );
  });

  it("sees a change at once, and nothing of what was there before", async () => {
    const ours = await tenantWith([{ title: "変更前", content: "旧" }]);
    const [found] = (await page(ours, { query: "変更前" })).items;
    const path = `/api/v2/documents/${found?.id ?? ""}`;
    await service.call("PATCH", path, { token: ours, body: { title: "更新済" } });
    expect(await titles(ours, "変更前")).toEqual([]);
    expect(await titles(ours, "更新済 旧")).toEqual(["更新済"]);
  });

  it("finds nothing of another tenant, whatever SQL is in the query or the cursor", async () => {
    const other = await tenantWith([{ title: "別", content: "秘密なし" }]);
    expect(await titles(other, "東京都")).toEqual([]);
    for (const attack of [
      "東京') or true --",
      "'; set row_security = off; --",
      "東京:* | 東京 & !x",
      "$1 || set_config('app.current_tenant_id','',false)",
    ]) {
      expect(await titles(other, attack)).toEqual([]);
      const cursor = Buffer.from(JSON.stringify([attack, attack, attack])).toString("base64url");
      for (const query of [`query=a&cursor=${cursor}`, `query=a&limit=${encodeURIComponent(attack)}`]) {
        const answer = await service.call("GET", `/api/v2/documents?${query}`, { token: other });
        expect(answer.status).toBe(400);
      }
    }
  });

  it.each([
    "query=",
    "query=%20",
    `query=${"x".repeat(201)}`,
    "query=a&query=b",
    "query=%00",
    "query[a]=1",
    "q=1",
  ])("is refused for ?%.20s with a problem that names the field", async (query) => {
    const answer = await service.call("GET", `/api/v2/documents?${query}`, { token });
    expect(answer).toMatchObject({ status: 400, body: { errors: [{ field: query.split("=")[0] }] } });
  });

  it("refuses a cursor of the list, and the list one of a search", async () => {
    const searched = await page(token, { query: "都", limit: "1" });
    const listed = await page(token, { limit: "1" });
    for (const query of [
      `cursor=${searched.nextCursor ?? ""}`,
      `query=x&cursor=${listed.nextCursor ?? ""}`,
    ]) {
      expect((await service.call("GET", `/api/v2/documents?${query}`, { token })).status).toBe(400);
    }
  });
});

describe("a document of the largest size", () => {
  it.each([
    ["of distinct four-byte characters", (n: number) => String.fromCodePoint(0x20000 + (n % 42_000))],
    [
      "of distinct characters and spaces",
      (n: number) => (n % 2 ? " " : String.fromCodePoint(0x4e00 + ((n / 2) % 20_000))),
    ],
    ["of characters that NFKC makes long", () => "\ufdfa"],
    ["of one word", () => "x"],
  ])("%s is kept and found", async (_what, character) => {
    let content = "";
    for (let n = 0; content.length < 99_998; n++) {
      content += character(n);
    }
    const ours = await tenantWith([{ title: "巨大", content }]);
    expect(await titles(ours, "巨大")).toEqual(["巨大"]);
  });
});

describe("among 20,000 documents", () => {
  const count = 20_000;
  let tenant: string;
  let token: string;
  beforeAll(async () => {
    tenant = await newTenant(postgres, database);
    token = await service.token("viewer", tenant);
    await asSuperuser(postgres, database, async (client) => {
      await client.query(
        `insert into documents (tenant_id, title, content, created_by, created_at)
         select $1, '文書' || n, '第' || n || '回の会議録。' || case when n % 1000 = 0 then '特別予算' else '通常' end,
           'test', timestamptz '2026-01-01' + n * interval '1 s'
         from generate_series(1, ${count}) n`,
        [tenant],
      );
      await client.query("analyze documents");
    });
  }, 120_000);

  it("a search is answered from the index", async () => {
    const scans = () =>
      asSuperuser(postgres, database, async (client) => {
        const { rows } = await client.query<{ n: number }>(
          "select idx_scan::int as n from pg_stat_user_indexes where indexrelname = 'documents_search'",
        );
        return rows[0]?.n ?? 0;
      });
    const before = await scans();
    expect((await page(token, { query: "特別予算" })).items).toHaveLength(20);
    await eventually(async () => {
      expect(await scans()).toBeGreaterThan(before);
      // A connection reports what it did when it has been idle for up to 10 s.
    }, 20_000);
    const plan = await asRole(postgres, database, "app_owner", async (client) => {
      const { rows } = await client.query<Record<string, string>>(
        `explain select id from documents where tenant_id = '${tenant}' and search @@ search_query('特別予算')`,
      );
      return rows.map((row) => row["QUERY PLAN"]).join("\n");
    });
    expect(plan).toContain("Bitmap Index Scan on documents_search");
    expect(await service.metricsText()).toMatch(/app_search_seconds_count [1-9]/);
  }, 40_000);

  // Postgres ends a statement that takes longer, and then there is no page.
  it("one that finds all of them is answered within the time of a statement", async () => {
    const { items, nextCursor } = await page(token, { query: "会議録", limit: "100" });
    expect(items).toHaveLength(100);
    expect(nextCursor).not.toBeNull();
  });

  it("the pages hold each hit exactly once", async () => {
    const seen: string[] = [];
    let cursor: string | null = "";
    while (cursor !== null) {
      const found: Page = await page(token, { query: "特別予算", limit: "7", ...(cursor && { cursor }) });
      seen.push(...found.items.map(({ title }) => title));
      cursor = found.nextCursor;
    }
    expect(seen).toEqual(Array.from({ length: 20 }, (_, n) => `文書${(20 - n) * 1000}`));
  });

  it("the metric of all documents counts those of every tenant", async () => {
    const fresh = await startTestService(postgres, database, undefined);
    const [, total] = /^app_knowledge_total (\d+)$/m.exec(await fresh.metricsText()) ?? [];
    expect(Number(total)).toBeGreaterThan(count);
    await fresh.stop();
  });
});

describe("a change of a document under v2", () => {
  const created = async (): Promise<[string, StoredDocument, string]> => {
    const token = await service.token("admin", await newTenant(postgres, database));
    const body = { title: "t", content: "c" };
    const answer = await service.call("POST", "/api/v2/documents", { token, body });
    return [token, answer.body as StoredDocument, answer.headers.get("etag") ?? ""];
  };

  it("changes the fields it names and leaves the others", async () => {
    const [token, document] = await created();
    const path = `/api/v2/documents/${document.id}`;
    const changed = await service.call("PATCH", path, { token, body: { content: "" } });
    expect(changed).toMatchObject({ status: 200, body: { title: "t", content: "" } });
    expect((await service.call("GET", path, { token })).body).toEqual(changed.body);
    for (const body of [{}, { title: null }, { id: document.id }, []]) {
      expect((await service.call("PATCH", path, { token, body })).status).toBe(400);
    }
  });

  it("is refused with 412 when the document is no longer as the caller saw it", async () => {
    const [token, document, etag] = await created();
    const path = `/api/v2/documents/${document.id}`;
    const change = (method: string, version: string) =>
      service.call(method, path, {
        token,
        headers: { "if-match": version },
        ...(method !== "DELETE" && { body: { title: "n", content: "n" } }),
      });
    const both = await Promise.all([change("PATCH", etag), change("PUT", etag)]);
    expect(both.map(({ status }) => status).sort()).toEqual([200, 412]);
    expect((await change("DELETE", etag)).status).toBe(412);
    const read = await service.call("GET", path, { token });
    const current = read.headers.get("etag") ?? "";
    expect(current).not.toBe(etag);
    expect((await change("PATCH", "rubbish")).body).toMatchObject({ errors: [{ field: "If-Match" }] });
    expect((await change("PATCH", '"9999-99-99T99:99:99.999Z"')).status).toBe(400);
    expect((await change("DELETE", current)).status).toBe(204);
    expect((await change("DELETE", current)).status).toBe(404);
  });

  it("is read again only by those who have another version", async () => {
    const [token, document, etag] = await created();
    // Left to itself, fetch would ask for no cached answer.
    const read = (path: string, version: string) =>
      service.call("GET", path, { token, headers: { "if-none-match": version, "cache-control": "" } });
    const path = `/api/v2/documents/${document.id}`;
    expect(await read(path, etag)).toMatchObject({ status: 304, body: "" });
    expect(await read(path, '"2000-01-01T00:00:00.000Z"')).toMatchObject({ status: 200, body: document });
    expect((await read("/api/health", "*")).status).toBe(200);
  });

  it("is in the audit log, in the transaction that makes it", async () => {
    const [token, document] = await created();
    const path = `/api/v2/documents/${document.id}`;
    await service.call("PATCH", path, { token, body: { title: "n" } });
    await service.call("DELETE", path, { token });
    const events = () =>
      asSuperuser(postgres, database, async (client) => {
        const { rows } = await client.query<{ action: string; subject: string; request_id: string | null }>(
          "select action, subject, request_id from audit_events where target = $1 order by id",
          [`document/${document.id}`],
        );
        return rows;
      });
    expect((await events()).map(({ action }) => action)).toEqual([
      "document.create",
      "document.update",
      "document.delete",
    ]);
    expect((await events()).every(({ subject, request_id }) => subject === "user-admin" && request_id)).toBe(
      true,
    );

    const [other, kept] = await created();
    await asSuperuser(postgres, database, (client) =>
      client.query("revoke insert (subject) on audit_events from app_user"),
    );
    const failed = await service.call("DELETE", `/api/v2/documents/${kept.id}`, { token: other });
    await asSuperuser(postgres, database, (client) =>
      client.query("grant insert (subject) on audit_events to app_user"),
    );
    expect(failed.status).toBe(500);
    expect((await service.call("GET", `/api/v2/documents/${kept.id}`, { token: other })).status).toBe(200);
  });
});
