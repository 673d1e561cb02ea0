import { afterAll, afterEach, beforeAll, describe, expect, inject, it, vi } from "vitest";
import type { ChatMessage, LanguageModel } from "../src/ai/languageModel.ts";
import type { Batch } from "../src/config/jobVariables.ts";
import { FeedServer, JobsBench, rss } from "./support/jobs.ts";
import { asSuperuser } from "./support/postgres.ts";
import { eventually } from "./support/processes.ts";
import { newTenant } from "./support/service.ts";

const never = "0 0 1 1 *";
const schedules = (due: Partial<Record<Batch, string>>) => ({
  schedules: { collection: never, summaries: never, "clean-up": never, ...due },
});
/** Cron with seconds, which the configuration does not accept: tests cannot wait for the minute. */
const everySecond = "* * * * * *";

// Workers share the machine with every other test.
vi.setConfig({ testTimeout: 60_000 });

let bench: JobsBench;
let server: FeedServer;
beforeAll(async () => {
  bench = await JobsBench.create(inject("postgres"));
  await bench.clear();
  server = await FeedServer.create((_request, response) => response.end(rss("a", "b", "c")));
});
afterEach(() => bench.clear());
afterAll(async () => {
  await server.close();
  await bench.remove();
});

async function newItem(guid: string, tenant = bench.tenant): Promise<string> {
  const [row] = await bench.sql<{ id: string }>(
    `insert into items (tenant_id, source_url, guid, title, content) values ($1, 'u', $2, $2, 'c') returning id`,
    [tenant, guid],
  );
  return row?.id ?? "";
}

describe("the scheduled batches", () => {
  it("that never run are missed from the migration on", async () => {
    const fresh = await JobsBench.create(inject("postgres"));
    const worker = await fresh.worker();
    await eventually(async () => {
      const at = await worker.metric('app_batch_last_success_timestamp_seconds{batch="clean-up"}');
      expect(at).toBeGreaterThan(Date.now() / 1000 - 120);
    });
    await fresh.remove();
  });

  it("run once at each time, however many workers there are, and say when they last succeeded", async () => {
    const feedsFile = await bench.feedsFile(server.url);
    const before = Date.now() / 1000;
    const jobs = { feedsFile, ...schedules({ collection: everySecond }) };
    const workers = await Promise.all([1, 2, 3].map(() => bench.worker({}, jobs)));
    await eventually(async () => {
      expect(await bench.count("jobs")).toBeGreaterThanOrEqual(3);
    });
    await bench.stopWorkers();
    // One run for each second, and one job for each run: never two with the same time.
    const rows = await bench.sql<{ second: string; n: number }>(
      `select split_part(idempotency_key, ' ', 1) as second, count(*)::int as n from jobs group by 1`,
    );
    expect(rows.every(({ second, n }) => second.startsWith("repeat:collection:") && n === 1)).toBe(true);
    const logs = workers.flatMap((worker) => worker.logs());
    const runs = logs.filter(({ message }) => message === "batch done").map(({ job_id }) => job_id);
    expect(new Set(runs).size).toBe(runs.length);

    // A worker that starts later knows it too.
    const later = await bench.worker({}, schedules({}));
    await eventually(async () => {
      const at = await later.metric('app_batch_last_success_timestamp_seconds{batch="collection"}');
      expect(at).toBeGreaterThan(before - 1);
    });
  });

  it("collect every configured feed of every tenant, and skip a tenant that does not exist", async () => {
    const file = await bench.feedsFile(server.url, `${server.url}?second`);
    const worker = await bench.worker({}, { feedsFile: file, ...schedules({ collection: everySecond }) });
    await eventually(async () => {
      expect(await bench.count("items")).toBe(6);
    });
    expect(await worker.metric('app_batch_runs_total{batch="collection",outcome="success"}')).toBeGreaterThan(
      0,
    );
  });

  it("have each new item summarised once", async () => {
    const asked: string[] = [];
    const model: LanguageModel = {
      complete: (messages: readonly ChatMessage[]) => {
        asked.push(messages.at(-1)?.content.split("\n")[0] ?? "");
        return Promise.resolve({ text: "In short.", model: "test", degraded: false });
      },
      stream: () => {
        throw new Error("a job takes the answer whole");
      },
    };
    const theirs = await newTenant(bench.postgres, bench.name);
    await Promise.all([newItem("one"), newItem("two"), newItem("three", theirs)]);
    const jobs = schedules({ summaries: everySecond });
    const [worker] = await Promise.all([bench.worker({ model }, jobs), bench.worker({ model }, jobs)]);
    await eventually(async () => {
      expect(await bench.count("summaries")).toBe(3);
    });
    await newItem("four");
    await eventually(async () => {
      expect(await bench.count("summaries")).toBe(4);
    });
    expect(asked.sort()).toEqual(["four", "one", "three", "two"]);
    expect(
      await bench.sql(
        "select 1 from summaries s join items i on i.id = s.item_id where i.tenant_id <> s.tenant_id",
      ),
    ).toEqual([]);
    expect(await worker.metric("app_summaries_total")).toBeDefined();
  });

  it("that fail are counted and tried again, and leave the time of the last success alone", async () => {
    await bench.sql(
      "insert into batch_runs (batch, last_success_at) values ('collection', '2026-01-01T00:00:00Z')",
    );
    const jobs = { feedsFile: "/nowhere/feeds.json", ...schedules({ collection: everySecond }) };
    const worker = await bench.worker({}, jobs);
    await eventually(async () => {
      expect(
        await worker.metric('app_batch_runs_total{batch="collection",outcome="failure"}'),
      ).toBeGreaterThan(1);
      expect(await worker.metric('app_batch_last_success_timestamp_seconds{batch="collection"}')).toBe(
        Date.parse("2026-01-01T00:00:00Z") / 1000,
      );
    });
    const [row] = await bench.sql<{ failed: boolean }>(
      "select last_failure_at is not null as failed from batch_runs where batch = 'collection'",
    );
    expect(row?.failed).toBe(true);
  });

  it("are put back when Redis has lost them, and follow a changed schedule", async () => {
    await bench.worker({}, schedules({}));
    await bench.redis.flush();
    await bench.stopWorkers();
    await bench.worker({}, schedules({ "clean-up": everySecond }));
    await eventually(async () => {
      expect(await bench.count("batch_runs")).toBe(1);
    });
    await bench.redis.flush();
    await bench.sql("truncate batch_runs");
    await eventually(async () => {
      expect(await bench.count("batch_runs")).toBe(1);
    });
  });
});

describe("the clean-up", () => {
  it("deletes by the rules of each table exactly what is past its age, of every tenant", async () => {
    const theirs = await newTenant(bench.postgres, bench.name);
    for (const tenant of [bench.tenant, theirs]) {
      await bench.sql(
        `insert into audit_events (tenant_id, subject, action, outcome, at)
         select $1, 's', 'a.b', 'success', now() - make_interval(days => d) from unnest(array[1, 364, 366, 800]) d`,
        [tenant],
      );
      await bench.sql(
        `insert into items (tenant_id, source_url, guid, title, content, seen_at)
         select $1, 'u', d::text, 't', 'c', now() - make_interval(days => d) from generate_series(80, 100) d`,
        [tenant],
      );
      await bench.sql(
        `insert into jobs (tenant_id, kind, payload, subject, state, finished_at)
         select $1, 'generate', '{}', 's', state, now() - make_interval(days => d)
         from unnest(array['done', 'dead']) state, unnest(array[29, 31, 89, 91]) d`,
        [tenant],
      );
      const [item] = await bench.sql<{ id: string }>(
        "select id from items where tenant_id = $1 and guid = '99'",
        [tenant],
      );
      await bench.sql("insert into summaries (tenant_id, item_id, text, model) values ($1, $2, 't', 'm')", [
        tenant,
        item?.id,
      ]);
    }
    const unfinished = await bench.prompt("still open");
    await bench.sql(
      "update jobs set created_at = now() - interval '1000 days', state = 'queued', relayed_at = now() + interval '1 h' where id = $1",
      [unfinished],
    );

    const worker = await bench.worker({}, schedules({ "clean-up": everySecond }));
    await eventually(async () => {
      expect(await bench.count("batch_runs")).toBe(1);
    });
    expect(await bench.count("audit_events")).toBe(4);
    // Those of 80 to 89 days; the one of exactly 90 is past its age by the time that is looked at.
    expect(await bench.count("items")).toBe(2 * 10);
    expect(await bench.count("summaries")).toBe(0);
    expect(
      await bench.sql(
        "select state, count(*)::int as n from jobs where state <> 'queued' group by 1 order by 1",
      ),
    ).toEqual([
      { state: "dead", n: 6 },
      { state: "done", n: 2 },
    ]);
    expect((await bench.job(unfinished)).state).toBe("queued");
    expect(await worker.metric('app_rows_cleaned_up_total{table="audit_events"}')).toBe(4);
    expect(await worker.metric('app_rows_cleaned_up_total{table="jobs"}')).toBe(6 + 2);
  });

  it("goes on until nothing is left, however much there is", async () => {
    await bench.sql(
      `insert into audit_events (tenant_id, subject, action, outcome, at)
       select $1, 's', 'a.b', 'success', now() - interval '2 years' from generate_series(1, 4500)`,
      [bench.tenant],
    );
    await bench.worker({}, schedules({ "clean-up": everySecond }));
    await eventually(async () => {
      expect(await bench.count("batch_runs")).toBe(1);
    });
    expect(await bench.count("audit_events")).toBe(0);
  });

  it("goes on with the other rules when one fails, and says that it failed", async () => {
    await bench.sql(
      `insert into audit_events (tenant_id, subject, action, outcome, at)
       select $1, 's', 'a.b', 'success', now() - interval '2 years'`,
      [bench.tenant],
    );
    await bench.sql(
      "insert into retention_rules (table_name, age_column, days, condition) values ('audit_events', 'at', 1, '1 / 0 = 1')",
    );
    try {
      const worker = await bench.worker({}, schedules({ "clean-up": everySecond }));
      await eventually(async () => {
        expect(
          await worker.metric('app_batch_runs_total{batch="clean-up",outcome="failure"}'),
        ).toBeGreaterThan(0);
      });
      expect(await bench.count("audit_events")).toBe(0);
      expect(worker.logs()).toContainEqual(
        expect.objectContaining({ message: "clean-up by a rule failed", condition: "1 / 0 = 1" }),
      );
    } finally {
      await bench.sql("delete from retention_rules where condition = '1 / 0 = 1'");
    }
  });
});

it("what is asked of large tables again and again is answered from indexes", async () => {
  const user = "7d444840-9dc0-41d8-b245-1ef6a4d4fc9a";
  const rows = "generate_series(1, 20000) n";
  const age = "now() - n * interval '1 s'";
  await asSuperuser(bench.postgres, bench.name, async (client) => {
    await client.query("begin");
    await client.query("select set_config('app.current_tenant_id', $1, true)", [bench.tenant]);
    for (const statement of [
      `insert into users (id, username, source, role) values ('${user}', 'u', 'ldap', 'viewer')`,
      `insert into refresh_tokens (token_hash, family_id, user_id, expires_at)
         select sha256(n::text::bytea), gen_random_uuid(), '${user}', ${age} from ${rows}`,
      `insert into audit_events (subject, action, outcome, at) select 's', 'a.b', 'success', ${age} from ${rows}`,
      `insert into chat_answers (id, session_id, subject, question, answer, model, degraded, created_at)
         select gen_random_uuid(), gen_random_uuid(), 's', 'q', 'a', 'm', false, ${age} from ${rows}`,
      `insert into items (source_url, guid, title, content, seen_at) select 'u', n::text, 't', 'c', ${age} from ${rows}`,
      `insert into jobs (kind, payload, subject, state, finished_at)
         select 'generate', '{}', 's', case when n > 10 then 'done' when n > 5 then 'dead' else 'pending' end, ${age}
         from ${rows}`,
    ]) {
      await client.query(statement);
    }
    await client.query("commit");
    for (const table of ["refresh_tokens", "audit_events", "chat_answers", "items", "jobs"]) {
      await client.query(`analyze ${table}`);
    }
    await client.query("begin");
    const counts = await client.query<{ state: string; jobs: number }>(
      "select * from job_counts() order by state",
    );
    expect(counts.rows).toMatchObject([
      { kind: "generate", state: "dead", jobs: 5 },
      { kind: "generate", state: "pending", jobs: 5 },
    ]);
    await client.query("select clean_up_by_rule(table_name, condition, 2000) from retention_rules");
    const scanned = await client.query(
      `select relname, seq_scan::int from pg_stat_xact_user_tables
       where seq_scan > 0 and relname <> 'retention_rules'`,
    );
    expect(scanned.rows).toEqual([]);
    for (const column of ["action", "subject"]) {
      const { rows: plan } = await client.query(
        `explain select * from audit_events where tenant_id = $1 and ${column} = 'rare' order by id desc limit 50`,
        [bench.tenant],
      );
      expect(JSON.stringify(plan)).toContain(`Index Scan using audit_events_by_${column}`);
    }
    await client.query("rollback");
  });
});
