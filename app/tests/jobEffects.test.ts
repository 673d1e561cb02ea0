import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from "vitest";
import { JobsBench } from "./support/jobs.ts";
import { eventually } from "./support/processes.ts";
import { FakeProvider, says, type SeenRequest } from "./support/provider.ts";

let bench: JobsBench;
let provider: FakeProvider;
beforeAll(async () => {
  bench = await JobsBench.create(inject("postgres"));
  // Every time that something comes of a job, in a table without a key that would hide a second: the schema's own let
  // none be seen. A summary is counted before its key is looked at.
  await bench.sql(`
    create table effects (job_id uuid not null);
    create function count_job() returns trigger language plpgsql security definer as
      $$ begin insert into effects values (new.id); return new; end $$;
    create trigger count_job after update on jobs for each row when (new.state = 'done')
      execute function count_job();
    create function count_summary() returns trigger language plpgsql security definer as
      $$ begin
        insert into effects select id from jobs where payload->>'itemId' = new.item_id::text;
        return new;
      end $$;
    create trigger count_summary before insert on summaries for each row execute function count_summary();
  `);
});
beforeEach(async () => {
  provider = await FakeProvider.start();
});
afterEach(async () => {
  await bench.clear();
  await bench.sql("truncate effects");
  await provider.stop();
});
afterAll(() => bench.remove());

/** What the model was last told: the prompt, or the item. */
function promptOf({ body }: SeenRequest): string {
  return (body["messages"] as { content: string }[]).at(-1)?.content ?? "";
}

const callsFor = (prompt: string) =>
  provider.requests.filter((request) => promptOf(request) === prompt).length;

async function effectsOf(ids: readonly string[]): Promise<number[]> {
  const rows = await bench.sql<{ job_id: string }>("select job_id from effects");
  return ids.map((id) => rows.filter(({ job_id }) => job_id === id).length);
}

/** Two prompts and a summary, and how often each has an effect: the summary when it is written and when it is done. */
async function jobs() {
  const prompts = ["first prompt", "second prompt", "An item\n\nIts text"];
  const [item] = await bench.sql<{ id: string }>(
    `insert into items (tenant_id, source_url, guid, title, content)
     values ($1, 'u', 'g', 'An item', 'Its text') returning id`,
    [bench.tenant],
  );
  const ids = [
    ...(await bench.prompts(prompts.slice(0, 2))),
    await bench.enqueue({ kind: "summarize", payload: { itemId: item?.id ?? "" } }),
  ];
  return { prompts, ids, once: [1, 1, 2] };
}

/** A model whose first answer to each prompt waits, and the number of calls that each has had by then. */
function holdFirstCalls() {
  let release: () => void = () => undefined;
  const released = new Promise<void>((resolve) => (release = resolve));
  provider.otherwise = async (response) => {
    const request = provider.requests.at(-1);
    if (request && callsFor(promptOf(request)) === 1) {
      await released;
    }
    await says("an answer")(response);
  };
  return () => {
    release();
  };
}

const worker = () =>
  bench.process({
    AI_URL: provider.url,
    // Longer than it takes until a lost worker's job is begun elsewhere.
    AI_TIMEOUT_SECONDS: "120",
    AI_DEADLINE_SECONDS: "120",
  });

/** A worker's process that has called the model for every job and has no answer, and the jobs. */
async function inTheMiddle() {
  const release = holdFirstCalls();
  const given = await jobs();
  const first = await worker();
  await eventually(() => {
    expect(given.prompts.map(callsFor)).toEqual([1, 1, 1]);
  }, 30_000);
  await worker();
  return { ...given, first, release };
}

const untilAllDone = (ids: readonly string[]) =>
  Promise.all(ids.map((id) => bench.until(id, "done", 60_000)));

// What is done at least once, the call of the model, is paid for as often: a third time where the next worker is slow enough
// to be taken for lost, too. What is recorded is recorded exactly once.
describe(
  "a worker that is lost between the call of the model and the end of the job",
  { timeout: 120_000 },
  () => {
    it("killed, has the model called again for each job, and each job's effect recorded once", async () => {
      const { prompts, ids, once, first } = await inTheMiddle();
      first.child.kill("SIGKILL");
      await untilAllDone(ids);
      expect(Math.min(...prompts.map(callsFor))).toBeGreaterThan(1);
      expect(await effectsOf(ids)).toEqual(once);
    });

    it("silent for a while, has its own late answers recorded no second time", async () => {
      const { prompts, ids, once, first, release } = await inTheMiddle();
      first.child.kill("SIGSTOP");
      await untilAllDone(ids);
      const results = () => bench.sql("select id, result, sealed_result, finished_at from jobs order by id");
      const before = await results();
      release();
      first.child.kill("SIGCONT");
      await eventually(() => {
        expect(first.stdout().match(/"job ended"/g)).toHaveLength(ids.length);
      }, 30_000);
      expect(Math.min(...prompts.map(callsFor))).toBeGreaterThan(1);
      expect(await effectsOf(ids)).toEqual(once);
      expect(await results()).toEqual(before);
    });
  },
);
