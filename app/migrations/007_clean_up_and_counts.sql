-- Up Migration

-- U+1680 is a space to Postgres, too, which then takes a word with it in it for two, or for no query at all.
-- Of documents that have it, the search goes on with what it made of them until they change.
create or replace function search_terms(input text) returns table (term text, kind text, place bigint)
  language sql immutable strict parallel safe
  begin atomic
    with runs as materialized (
      select match[1] as cjk, left(match[2], 100) as word, run
      from regexp_matches(
        lower(left(normalize(input, NFKC), 200000)),
        '([\u3005-\u3007\u3041-\u3096\u309D-\u309F\u30A1-\u30FA\u30FC-\u30FF\u3400-\u4DBF\u4E00-\u9FFF\uAC00-\uD7A3'
        '\uF900-\uFAFF\U00020000-\U0003FFFF]+)'
        '|([0-9A-Za-z\u00AA\u00B5\u00BA\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u167F\u1681-\u1FFF\u2C00-\u2DFF\uA000-\uABFF'
        '\uFB1D-\uFDFF\uFE70-\uFEFC\U00010000-\U0001FFFF]+)',
        'g'
      ) with ordinality as matches (match, run)
    ), characters as (
      select word, run, character, number, lead(character) over (partition by run order by number) as following
      from runs left join lateral string_to_table(cjk, null) with ordinality as split (character, number) on true
    )
    select coalesce(word, character || coalesce(following, '')),
      case
        when word is not null then 'word'
        when following is not null then 'pair'
        when number > 1 then 'end'
        else 'single'
      end,
      row_number() over (order by run, number)
    from characters;
  end;

-- A state at a time: each is counted from its partial index, and no condition on both can be.
create or replace function job_counts()
  returns table (kind text, state text, jobs integer, oldest_seconds double precision)
  language sql stable security definer set search_path = pg_catalog, public
  begin atomic
    select jobs.kind, 'pending', count(*)::integer, extract(epoch from now() - min(jobs.created_at))::double precision
    from public.jobs where jobs.state = 'pending' group by 1
    union all
    select jobs.kind, 'dead', count(*)::integer, extract(epoch from now() - min(jobs.created_at))::double precision
    from public.jobs where jobs.state = 'dead' group by 1;
  end;

-- Deletes at most so many rows by the one rule and says how many it deleted; call it until that is fewer. Each call is
-- a transaction: a rule that fails, or takes too long, undoes nothing of the others.
-- clean_up(integer) stays for workers of the version before.
create function clean_up_by_rule(rule_table text, rule_condition text, most integer) returns integer
  language plpgsql volatile security definer set search_path = pg_catalog, public
as $$
declare
  rule retention_rules;
  deleted integer;
begin
  select * into strict rule from retention_rules where table_name = rule_table and condition = rule_condition;
  execute format(
    'delete from public.%1$I where ctid = any (array(select ctid from public.%1$I
       where %2$I < now() - make_interval(days => $1) and (%3$s) limit $2))',
    rule.table_name, rule.age_column, rule.condition) using rule.days, most;
  get diagnostics deleted = row_count;
  return deleted;
end $$;
revoke execute on function clean_up_by_rule(text, text, integer) from public;
grant execute on function clean_up_by_rule(text, text, integer) to app_user;

-- Down Migration
drop function clean_up_by_rule(text, text, integer);

create or replace function job_counts()
  returns table (kind text, state text, jobs integer, oldest_seconds double precision)
  language sql stable security definer set search_path = pg_catalog, public
  begin atomic
    select jobs.kind, jobs.state, count(*)::integer, extract(epoch from now() - min(jobs.created_at))::double precision
    from public.jobs where jobs.state in ('pending', 'dead') group by 1, 2;
  end;

create or replace function search_terms(input text) returns table (term text, kind text, place bigint)
  language sql immutable strict parallel safe
  begin atomic
    with runs as materialized (
      select match[1] as cjk, left(match[2], 100) as word, run
      from regexp_matches(
        lower(left(normalize(input, NFKC), 200000)),
        '([\u3005-\u3007\u3041-\u3096\u309D-\u309F\u30A1-\u30FA\u30FC-\u30FF\u3400-\u4DBF\u4E00-\u9FFF\uAC00-\uD7A3'
        '\uF900-\uFAFF\U00020000-\U0003FFFF]+)'
        '|([0-9A-Za-z\u00AA\u00B5\u00BA\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u1FFF\u2C00-\u2DFF\uA000-\uABFF'
        '\uFB1D-\uFDFF\uFE70-\uFEFC\U00010000-\U0001FFFF]+)',
        'g'
      ) with ordinality as matches (match, run)
    ), characters as (
      select word, run, character, number, lead(character) over (partition by run order by number) as following
      from runs left join lateral string_to_table(cjk, null) with ordinality as split (character, number) on true
    )
    select coalesce(word, character || coalesce(following, '')),
      case
        when word is not null then 'word'
        when following is not null then 'pair'
        when number > 1 then 'end'
        else 'single'
      end,
      row_number() over (order by run, number)
    from characters;
  end;
