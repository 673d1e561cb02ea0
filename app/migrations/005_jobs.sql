-- Up Migration

-- The outbox, and the only record of a job that counts: what Redis knows of one can be made again from its row.
create table jobs (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null references tenants (id)
    default nullif(current_setting('app.current_tenant_id', true), '')::uuid,
  kind text not null check (kind in ('collect', 'summarize', 'generate')),
  payload jsonb not null,
  subject text not null,
  request_id text,
  traceparent text,
  -- Makes a job once, however often it is asked for; null when each asking is a job of its own.
  idempotency_key text,
  state text not null default 'pending' check (state in ('pending', 'queued', 'done', 'dead')),
  -- Attempts that failed.
  attempts integer not null default 0,
  error text,
  result jsonb,
  created_at timestamptz(3) not null default now(),
  -- When Redis was last known to have it.
  relayed_at timestamptz(3),
  finished_at timestamptz(3),
  unique (tenant_id, kind, idempotency_key)
);
create index jobs_pending on jobs (created_at) where state = 'pending';
create index jobs_queued on jobs (relayed_at) where state = 'queued';
create index jobs_dead on jobs (tenant_id, created_at desc, id desc) where state = 'dead';
create index jobs_finished on jobs (finished_at);

-- What a feed's server said at the last fetch, so that the next one asks for changes only.
create table feeds (
  tenant_id uuid not null references tenants (id)
    default nullif(current_setting('app.current_tenant_id', true), '')::uuid,
  source_url text not null,
  etag text,
  last_modified text,
  checked_at timestamptz not null default now(),
  primary key (tenant_id, source_url)
);

create table items (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null references tenants (id)
    default nullif(current_setting('app.current_tenant_id', true), '')::uuid,
  source_url text not null,
  -- The feed's own id of the item, or a hash of it when it is long.
  guid text not null,
  title text not null,
  link text,
  content text not null,
  published_at timestamptz(3),
  collected_at timestamptz(3) not null default now(),
  -- When its feed last had it. Age counts from here: an item that went while its feed still had it would come back.
  seen_at timestamptz not null default now(),
  unique (tenant_id, source_url, guid),
  unique (tenant_id, id)
);
create index items_seen on items (seen_at);

create table summaries (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null references tenants (id)
    default nullif(current_setting('app.current_tenant_id', true), '')::uuid,
  item_id uuid not null unique,
  text text not null,
  model text not null,
  created_at timestamptz(3) not null default now(),
  foreign key (tenant_id, item_id) references items (tenant_id, id) on delete cascade
);
create index summaries_of_items on summaries (tenant_id, item_id);

-- Of no tenant: when each scheduled batch last ran.
create table batch_runs (
  batch text primary key,
  last_success_at timestamptz(3),
  last_failure_at timestamptz(3)
);

-- So that one that never runs is missed too: its age counts from here.
insert into batch_runs (batch, last_success_at) values ('collection', now()), ('summaries', now()), ('clean-up', now());

-- How long rows are kept: one line per table, here or in a later migration. It belongs to the owner, so that the app's role can have old rows
-- cleaned up, audit rows too, but has no say in what is old.
create table retention_rules (
  table_name text not null,
  age_column text not null,
  days integer not null check (days >= 0),
  condition text not null default 'true',
  primary key (table_name, condition)
);
insert into retention_rules (table_name, age_column, days, condition) values
  ('audit_events', 'at', 365, 'true'),
  ('refresh_tokens', 'expires_at', 1, 'true'),
  ('chat_answers', 'created_at', 90, 'true'),
  ('items', 'seen_at', 90, 'true'),
  ('jobs', 'finished_at', 30, 'state = ''done'''),
  ('jobs', 'finished_at', 90, 'state = ''dead''');

do $$
declare name text;
begin
  foreach name in array array['jobs', 'feeds', 'items', 'summaries'] loop
    execute format('alter table %I enable row level security', name);
    execute format('alter table %I force row level security', name);
    execute format($policy$
      create policy own_tenant on %I
        using (tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid)
        with check (tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid)
    $policy$, name);
    execute format('grant select on %I to app_user, app_readonly, app_backup', name);
  end loop;
end $$;
grant select on batch_runs, retention_rules to app_user, app_readonly, app_backup;

-- For the functions below, which run as the owner and must see every tenant's rows.
create policy functions_of_owner on jobs to app_owner using (true) with check (true);
create policy functions_of_owner on items for select to app_owner using (true);
create policy functions_of_owner on summaries for select to app_owner using (true);
do $$
declare name text;
begin
  for name in select distinct table_name from retention_rules loop
    execute format('create policy clean_up_read on %I for select to app_owner using (true)', name);
    execute format('create policy clean_up_delete on %I for delete to app_owner using (true)', name);
  end loop;
end $$;

grant insert (id, kind, payload, subject, request_id, traceparent, idempotency_key) on jobs to app_user;
grant update (state, attempts, error, result, finished_at) on jobs to app_user;
grant insert (source_url, etag, last_modified), update (etag, last_modified, checked_at) on feeds to app_user;
grant insert (source_url, guid, title, link, content, published_at), update (seen_at) on items to app_user;
grant insert (item_id, text, model) on summaries to app_user;
grant insert, update on batch_runs to app_user;

-- Hands pending jobs of every tenant over, oldest first. The caller keeps their rows locked until it has put them into
-- Redis and commits; on a rollback they are pending again.
create function relay_jobs(most integer)
  returns table (id uuid, tenant_id uuid, kind text, created_at timestamptz)
  language sql volatile security definer set search_path = pg_catalog, public
  begin atomic
    update public.jobs set state = 'queued', relayed_at = now()
    where jobs.id = any (array(
      select due.id from public.jobs due where due.state = 'pending'
      order by due.created_at limit most for update skip locked))
    returning jobs.id, jobs.tenant_id, jobs.kind, jobs.created_at;
  end;

-- Queued jobs that Redis has not been asked about for so many seconds. Marks them as asked about, so that the next
-- call returns others.
create function jobs_to_check(seconds integer, most integer)
  returns table (id uuid, tenant_id uuid, kind text, created_at timestamptz)
  language sql volatile security definer set search_path = pg_catalog, public
  begin atomic
    update public.jobs set relayed_at = now()
    where jobs.id = any (array(
      select due.id from public.jobs due
      where due.state = 'queued' and due.relayed_at < now() - make_interval(secs => seconds)
      order by due.relayed_at limit most for update skip locked))
    returning jobs.id, jobs.tenant_id, jobs.kind, jobs.created_at;
  end;

create function job_counts()
  returns table (kind text, state text, jobs integer, oldest_seconds double precision)
  language sql stable security definer set search_path = pg_catalog, public
  begin atomic
    select jobs.kind, jobs.state, count(*)::integer, extract(epoch from now() - min(jobs.created_at))::double precision
    from public.jobs where jobs.state in ('pending', 'dead') group by 1, 2;
  end;

create function items_without_summary(most integer) returns table (tenant_id uuid, id uuid)
  language sql stable security definer set search_path = pg_catalog, public
  begin atomic
    select items.tenant_id, items.id from public.items
    where not exists (select from public.summaries s where s.tenant_id = items.tenant_id and s.item_id = items.id)
      and not exists (select from public.jobs j where j.tenant_id = items.tenant_id and j.kind = 'summarize'
                      and j.idempotency_key = items.id::text)
    order by items.collected_at limit most;
  end;

-- Deletes at most so many rows by each rule and says how many it deleted; call it until that is none.
create function clean_up(most integer) returns table (table_name text, deleted integer)
  language plpgsql volatile security definer set search_path = pg_catalog, public
as $$
declare rule retention_rules;
begin
  for rule in select * from retention_rules loop
    execute format(
      'delete from public.%1$I where ctid = any (array(select ctid from public.%1$I
         where %2$I < now() - make_interval(days => $1) and (%3$s) limit $2))',
      rule.table_name, rule.age_column, rule.condition) using rule.days, most;
    get diagnostics deleted = row_count;
    table_name := rule.table_name;
    return next;
  end loop;
end $$;

revoke execute on function relay_jobs(integer), jobs_to_check(integer, integer), job_counts(),
  items_without_summary(integer), clean_up(integer) from public;
grant execute on function relay_jobs(integer), jobs_to_check(integer, integer), job_counts(),
  items_without_summary(integer), clean_up(integer) to app_user;

-- Down Migration
drop function clean_up(integer);
drop function items_without_summary(integer);
drop function job_counts();
drop function jobs_to_check(integer, integer);
drop function relay_jobs(integer);
do $$
declare name text;
begin
  for name in select distinct table_name from retention_rules loop
    execute format('drop policy clean_up_read on %I', name);
    execute format('drop policy clean_up_delete on %I', name);
  end loop;
end $$;
drop table retention_rules, batch_runs, summaries, items, feeds, jobs;
