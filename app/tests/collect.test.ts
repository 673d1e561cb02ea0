import type { IncomingMessage, ServerResponse } from "node:http";
import { afterAll, afterEach, beforeAll, describe, expect, inject, it, vi } from "vitest";
import { FeedServer, JobsBench, rss } from "./support/jobs.ts";
import { eventually } from "./support/processes.ts";
import { newTenant } from "./support/service.ts";

// Workers share the machine with every other test.
vi.setConfig({ testTimeout: 60_000 });

let bench: JobsBench;
let server: FeedServer;
let answer: (request: IncomingMessage, response: ServerResponse) => void;
beforeAll(async () => {
  bench = await JobsBench.create(inject("postgres"));
  server = await FeedServer.create((request, response) => {
    answer(request, response);
  });
});
afterEach(() => bench.clear());
afterAll(async () => {
  await server.close();
  await bench.remove();
});

const worker = async (jobs = {}) =>
  bench.worker({}, { feedsFile: await bench.feedsFile(server.url), ...jobs });
const collect = async (url = server.url, tenant?: string) => {
  const id = await bench.enqueue({ kind: "collect", payload: { url } }, tenant);
  return id;
};
const collected = async () => {
  const id = await collect();
  await bench.until(id, "done");
  return (await bench.job(id)).result;
};
const failure = async () => {
  const id = await collect();
  await bench.until(id, "dead");
  return (await bench.job(id)).error;
};
const titles = async () => {
  const rows = await bench.sql<{ title: string }>("select title from items order by title");
  return rows.map(({ title }) => title);
};

describe("a feed", () => {
  it("is collected item by item, each once, however often it is fetched", async () => {
    const { metric } = await worker();
    answer = (_request, response) => response.end(rss("a", "b", "a"));
    expect(await collected()).toEqual({ collected: 2, unchanged: false });
    answer = (_request, response) => response.end(rss("c", "b"));
    expect(await collected()).toEqual({ collected: 1, unchanged: false });
    expect(await titles()).toEqual(["Item a", "Item b", "Item c"]);
    expect(await bench.sql("select link, content, published_at from items where guid = 'a'")).toEqual([
      { link: "https://example.com/a", content: "About a", published_at: new Date("2026-11-24T10:00:00Z") },
    ]);
    await eventually(async () => {
      expect(await metric("app_items_collected_total")).toBe(3);
    });
  });

  it("is asked only for what changed since the last fetch", async () => {
    await worker();
    const asked: Record<string, unknown>[] = [];
    const etag = '"v1"';
    const modified = "Tue, 24 Nov 2026 10:00:00 GMT";
    answer = ({ headers }, response) => {
      asked.push({ etag: headers["if-none-match"], modified: headers["if-modified-since"] });
      if (headers["if-none-match"] === etag) {
        response.writeHead(304).end();
      } else {
        response.writeHead(200, { etag, "last-modified": modified }).end(rss("a"));
      }
    };
    expect(await collected()).toEqual({ collected: 1, unchanged: false });
    const seen = await bench.sql("select seen_at from items");
    expect(await collected()).toEqual({ collected: 0, unchanged: true });
    expect(asked).toEqual([{}, { etag, modified }]);
    // The feed still has it: its age starts anew.
    expect(await bench.sql("select seen_at from items")).not.toEqual(seen);
  });

  it("may be Atom, RDF or JSON, in any language, with ids of any length", async () => {
    await worker();
    const atom =
      '<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom"><title>t</title>' +
      `<entry><id>${"あ".repeat(900)}</id><title>日本語の見出し</title><link href="https://example.com/1"/>` +
      "<updated>2026-11-24T10:00:00Z</updated><summary>要約</summary></entry></feed>";
    const rdf =
      '<?xml version="1.0"?><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" ' +
      'xmlns="http://purl.org/rss/1.0/"><channel><title>t</title></channel>' +
      "<item><title>From RDF</title><link>https://example.com/2</link></item></rdf:RDF>";
    const json = JSON.stringify({
      version: "https://jsonfeed.org/version/1.1",
      title: "t",
      items: [{ id: "3", title: "From JSON\u0000", content_text: "c", date_published: "not a date" }],
    });
    for (const text of [atom, rdf, json]) {
      answer = (_request, response) => response.end(text);
      expect(await collected()).toEqual({ collected: 1, unchanged: false });
    }
    expect(await titles()).toEqual(["From JSON", "From RDF", "日本語の見出し"]);
  });

  it("may have texts that are cut within a character, and dates that Postgres has not", async () => {
    await worker();
    const items = ["+275760-09-13T00:00:00Z", "-000001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"].map(
      (date, n) => ({
        id: String(n),
        title: `${"x".repeat(499)}🚀`,
        url: `https://example.com/${"y".repeat(1979)}🚀`,
        content_text: `${"z".repeat(49_999)}🚀`,
        date_published: date,
      }),
    );
    const json = JSON.stringify({ version: "https://jsonfeed.org/version/1.1", title: "t", items });
    answer = (_request, response) => response.end(json);
    expect(await collected()).toEqual({ collected: 3, unchanged: false });
    expect((await titles())[0]).toBe(`${"x".repeat(499)}\ufffd`);
    expect(await bench.sql("select published_at from items order by guid")).toEqual([
      { published_at: null },
      { published_at: null },
      { published_at: new Date("9999-12-31T23:59:59Z") },
    ]);
  });

  it.each([
    [
      "an error",
      (response: ServerResponse) => response.writeHead(500).end("secret"),
      "the feed's server answered 500",
    ],
    [
      "no feed",
      (response: ServerResponse) => response.end("<html></html>"),
      "the feed's server gave no usable answer",
    ],
    [
      "nothing at all",
      (response: ServerResponse) => response.destroy(),
      "the feed's server gave no usable answer",
    ],
    [
      "a redirect, which is not followed",
      (response: ServerResponse) => response.writeHead(302, { location: "http://169.254.169.254/" }).end(),
      "the feed's server answered 302: configure the address that it leads to",
    ],
    [
      "more than 2 MiB",
      (response: ServerResponse) => response.end(rss("a") + " ".repeat(2 * 1024 * 1024)),
      "the feed is larger than 2097152 bytes",
    ],
  ])("whose server answers with %s leaves a dead letter that says so", async (_, misbehave, error) => {
    await worker({ retries: 1 });
    answer = (_request, response) => {
      misbehave(response);
    };
    expect(await failure()).toBe(error);
    expect(await bench.count("items")).toBe(0);
  });

  it("is not fetched for a tenant for whom it is not configured", async () => {
    let requests = 0;
    answer = (_request, response) => {
      requests++;
      response.end(rss("a"));
    };
    await worker();
    const others = await collect(server.url, await newTenant(bench.postgres, bench.name));
    const unknown = await collect("http://127.0.0.1:1/internal");
    await Promise.all([bench.until(others, "dead"), bench.until(unknown, "dead")]);
    expect((await bench.job(others)).error).toContain("configured");
    expect(requests).toBe(0);
  });
});
