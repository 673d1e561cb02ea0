import type { PoolClient } from "pg";
import type { Database } from "../../db/database.ts";
import { findTenant } from "../../db/tenants.ts";
import { readFeeds } from "../feeds.ts";
import { JobError } from "../job.ts";
import type { JobMetrics } from "../metrics.ts";
import { type FeedItem, type FeedState, fetchFeed } from "./feed.ts";
import type { Handler } from "./handler.ts";

/** Fetches one configured feed and keeps what is new in it. */
export function collect(
  database: Database,
  feedsFile: string | undefined,
  metrics: JobMetrics,
): Handler<"collect"> {
  return async (tenantId, { url }, signal) => {
    if (!(await isConfigured(database, feedsFile, tenantId, url))) {
      throw new JobError("the feed is not, or no longer, configured for this tenant", { final: true });
    }
    const known = await database.asTenant(tenantId, (client) => feedState(client, url), { repeatable: true });
    const fetched = await fetchFeed(url, known, signal);
    let collected = 0;
    return {
      effect: async (client) => {
        if (fetched === "unchanged") {
          await keepSeen(client, url);
          return { collected: 0, unchanged: true };
        }
        collected = await insertNew(client, url, fetched.items);
        await client.query(
          `insert into feeds (source_url, etag, last_modified) values ($1, $2, $3)
           on conflict (tenant_id, source_url)
           do update set etag = excluded.etag, last_modified = excluded.last_modified, checked_at = now()`,
          [url, fetched.state.etag, fetched.state.lastModified],
        );
        return { collected, unchanged: false };
      },
      recorded: () => {
        metrics.itemsCollected(collected);
      },
    };
  };
}

async function isConfigured(
  database: Database,
  feedsFile: string | undefined,
  tenantId: string,
  url: string,
): Promise<boolean> {
  const feeds = feedsFile === undefined ? [] : [...readFeeds(feedsFile)];
  const names = feeds.filter(([, urls]) => urls.includes(url)).map(([name]) => name);
  const ids = await Promise.all(names.map((name) => findTenant(database, name)));
  return ids.includes(tenantId);
}

async function feedState(client: PoolClient, url: string): Promise<FeedState> {
  const { rows } = await client.query<FeedState>(
    `select etag, last_modified as "lastModified" from feeds where source_url = $1`,
    [url],
  );
  return rows[0] ?? { etag: null, lastModified: null };
}

/** @returns how many of the items were not known. */
async function insertNew(client: PoolClient, url: string, items: readonly FeedItem[]): Promise<number> {
  const { rows } = await client.query<{ collected: number }>(
    `with given as (
       select * from jsonb_to_recordset($2::jsonb)
         as item (guid text, title text, link text, content text, "publishedAt" timestamptz)),
     written as (
       insert into items (source_url, guid, title, link, content, published_at)
       select $1, guid, title, link, content, "publishedAt" from given
       on conflict (tenant_id, source_url, guid) do update set seen_at = now()
       -- Zero for a row that was inserted, not updated.
       returning xmax)
     select count(*) filter (where xmax = 0)::int as collected from written`,
    [url, JSON.stringify(items)],
  );
  return rows[0]?.collected ?? 0;
}

/** An unchanged feed still has the items that it had at the last fetch. */
async function keepSeen(client: PoolClient, url: string): Promise<void> {
  await client.query(
    `update items set seen_at = now() from feeds
     where feeds.source_url = $1 and items.source_url = $1 and items.seen_at = feeds.checked_at`,
    [url],
  );
  await client.query("update feeds set checked_at = now() where source_url = $1", [url]);
}
