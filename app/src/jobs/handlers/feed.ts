import { createHash } from "node:crypto";
import { parseFeed } from "feedsmith";
import { JobError } from "../job.ts";

/** What the server said at the last fetch, handed back to it so that it answers only when something changed. */
export interface FeedState {
  etag: string | null;
  lastModified: string | null;
}

export interface FeedItem {
  guid: string;
  title: string;
  link: string | null;
  content: string;
  publishedAt: string | null;
}

export interface FetchedFeed {
  items: FeedItem[];
  state: FeedState;
}

const largestBytes = 2 * 1024 * 1024;
const timeoutMs = 15_000;
const mostItems = 500;
const longest = { title: 500, content: 50_000, link: 2000, guid: 200, validator: 500 };

/**
 * One conditional request. Redirects are not followed: they could lead to addresses that nobody configured.
 * @throws JobError when there is no answer in time, or one that is no feed.
 */
export async function fetchFeed(
  url: string,
  known: FeedState,
  signal: AbortSignal,
): Promise<FetchedFeed | "unchanged"> {
  const headers = {
    accept: "application/atom+xml, application/rss+xml, application/feed+json, application/xml;q=0.9",
    "user-agent": "groundwork-collector",
    ...(known.etag !== null && { "if-none-match": known.etag }),
    ...(known.lastModified !== null && { "if-modified-since": known.lastModified }),
  };
  try {
    const within = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    const response = await fetch(url, { headers, redirect: "manual", signal: within });
    if (response.status !== 200) {
      await response.body?.cancel();
      if (response.status === 304) {
        return "unchanged";
      }
      const advice = response.status < 400 ? ": configure the address that it leads to" : "";
      throw new JobError(`the feed's server answered ${response.status}${advice}`);
    }
    return { items: parse(await readText(response)), state: stateOf(response.headers) };
  } catch (error) {
    signal.throwIfAborted();
    throw error instanceof JobError
      ? error
      : new JobError("the feed's server gave no usable answer", { cause: error });
  }
}

async function readText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.byteLength;
    if (bytes > largestBytes) {
      throw new JobError(`the feed is larger than ${largestBytes} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function stateOf(headers: Headers): FeedState {
  const validator = (name: string) => headers.get(name)?.slice(0, longest.validator) ?? null;
  return { etag: validator("etag"), lastModified: validator("last-modified") };
}

interface RawItem {
  guid: string | undefined;
  title: string | undefined;
  link: string | undefined;
  content: string | undefined;
  date: string | undefined;
}

function parse(text: string): FeedItem[] {
  const byGuid = new Map<string, FeedItem>();
  for (const raw of rawItems(text).slice(0, mostItems)) {
    const item = toItem(raw);
    // The first of two with one id: feeds list the newest first.
    if (!byGuid.has(item.guid)) {
      byGuid.set(item.guid, item);
    }
  }
  return [...byGuid.values()];
}

function rawItems(text: string): RawItem[] {
  const parsed = parseFeed(text);
  switch (parsed.format) {
    case "atom":
      return (parsed.feed.entries ?? []).map((entry) => ({
        guid: entry.id,
        title: entry.title?.value,
        link: (entry.links?.find(({ rel }) => rel === undefined || rel === "alternate") ?? entry.links?.[0])
          ?.href,
        content: entry.content?.value ?? entry.summary?.value,
        date: entry.published ?? entry.updated,
      }));
    case "json":
      return (parsed.feed.items ?? []).map((item) => ({
        guid: item.id,
        title: item.title,
        link: item.url,
        content: item.content_text ?? item.content_html ?? item.summary,
        date: item.date_published,
      }));
    case "rss":
      return (parsed.feed.items ?? []).map((item) => ({
        guid: item.guid?.value,
        title: item.title,
        link: item.link,
        content: item.content?.encoded ?? item.description,
        date: item.pubDate,
      }));
    case "rdf":
      return (parsed.feed.items ?? []).map((item) => ({
        guid: item.link,
        title: item.title,
        link: item.link,
        content: item.description,
        date: undefined,
      }));
  }
}

function toItem({ guid, title, link, content, date }: RawItem): FeedItem {
  const id = clean(guid ?? link ?? hash(`${title ?? ""}\n${content ?? ""}`));
  return {
    guid: id.length > longest.guid ? hash(id) : id,
    title: clean(title ?? "", longest.title),
    link: link === undefined ? null : clean(link, longest.link),
    content: clean(content ?? "", longest.content),
    publishedAt: toTime(date),
  };
}

/** Postgres keeps no NUL in text, and no half of a surrogate pair in JSON: cutting may leave one. */
function clean(text: string, most = Infinity): string {
  return text.replaceAll("\u0000", "").slice(0, most).toWellFormed();
}

/** Null also for years that Postgres does not read as JavaScript writes them: before 1 and after 9999. */
function toTime(text: string | undefined): string | null {
  const date = new Date(text ?? "");
  const year = date.getUTCFullYear();
  return year >= 1 && year <= 9999 ? date.toISOString() : null;
}

function hash(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
