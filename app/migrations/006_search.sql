-- Up Migration
-- Ships with Postgres and is trusted: the database's owner may create it, but on Azure, where an administrator has. It puts
-- the tenant into the index, so that a search costs what its own tenant's documents cost.
do $$
begin
  if not exists (select from pg_extension where extname = 'btree_gin') then
    create extension btree_gin;
  end if;
end $$;

-- The terms of a text: words as they are, and Chinese, Japanese and Korean runs, which have no spaces, as overlapping
-- pairs of characters. A run's last character is a term too, so that every character begins one, and a query of one
-- character is a query by prefix. NFKC first: half-width kana and full-width letters become the usual ones.
-- Not to_tsvector's own parser: what it takes for a letter depends on the server's locale.
-- Kinds: word, pair, end (a run's last character), single (a run of one character).
-- Some characters become 18 by NFKC: what is beyond twice the longest content is not looked at.
-- Materialized, or every character is carried through the sort with the whole text at its side.
create function search_terms(input text) returns table (term text, kind text, place bigint)
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

-- The title's terms with weight A and their places, for the ranking. The content's without: so a document of the
-- largest size stays below tsvector's limit of 1 MiB, whatever it is made of.
create function search_vector(title text, content text) returns tsvector
  language sql immutable strict parallel safe
  begin atomic
    select coalesce(
        (select string_agg(term || ':' || least(place, 16383) || 'A', ' ')::tsvector from search_terms(title)), '')
      || coalesce((select array_to_tsvector(array_agg(distinct term)) from search_terms(content)), '');
  end;

-- Every term must occur. Null when there is nothing to look for. Terms are letters and digits: nothing needs quoting.
create function search_query(input text) returns tsquery
  language sql immutable strict parallel safe
  begin atomic
    select string_agg(distinct term || case kind when 'single' then ':*' else '' end, ' & ')::tsquery
    from search_terms(input) where kind <> 'end';
  end;

alter table documents add column search tsvector not null
  generated always as (search_vector(title, content)) stored;
-- Without the list of pending entries, which every search would read through, and which makes the planner shun the index.
create index documents_search on documents using gin (tenant_id, search) with (fastupdate = off);

-- The functions below run as the owner, whom this lets read all documents. Writing stays bound to the tenant.
create policy owner_reads on documents for select to app_owner using (true);

-- Full-text search in the transaction's tenant, best first. A function of the owner, because Postgres uses no index for
-- a condition that could leak rows (@@ could) before a policy has been checked: here there is none to check, and the
-- tenant is a condition like the other.
create function search_documents(
  query text, page_size integer, after_rank double precision, after_created_at timestamptz, after_id uuid
) returns table (
  id uuid, title text, created_by text, created_at timestamptz, updated_at timestamptz, rank double precision
)
  language sql stable security definer set search_path = pg_catalog, public
  begin atomic
    with asked as materialized (select search_query(query) as terms), found as (
      select d.id, d.title, d.created_by, d.created_at, d.updated_at,
        ts_rank(d.search, asked.terms)::double precision as rank
      from asked join documents d on d.search @@ asked.terms
      where d.tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid
    )
    select * from found
    where after_rank is null
      or (found.rank, found.created_at, found.id) < (after_rank, after_created_at, after_id)
    order by found.rank desc, found.created_at desc, found.id desc
    limit page_size;
  end;

-- How many documents there are, of all tenants together: counted while that is cheap, else the planner's estimate.
create function count_documents() returns bigint
  language sql stable security definer set search_path = pg_catalog, public
  begin atomic
    select case when reltuples > 100000 then reltuples::bigint else (select count(*) from documents) end
    from pg_class where oid = 'documents'::regclass;
  end;

-- For what goes through every tenant in turn, as re-keying does: their ids, not their names.
create function tenant_ids() returns setof uuid
  language sql stable security definer set search_path = pg_catalog, public
  begin atomic
    select id from tenants order by id;
  end;

revoke execute on function search_documents(text, integer, double precision, timestamptz, uuid), count_documents(),
  tenant_ids() from public;
grant execute on function search_documents(text, integer, double precision, timestamptz, uuid), count_documents(),
  tenant_ids() to app_user;

-- Down Migration
drop function tenant_ids();
drop function count_documents();
drop function search_documents(text, integer, double precision, timestamptz, uuid);
drop policy owner_reads on documents;
drop index documents_search;
alter table documents drop column search;
drop function search_query(text);
drop function search_vector(text, text);
drop function search_terms(text);
do $$
begin
  -- What an administrator has made stays.
  if exists (select from pg_extension where extname = 'btree_gin' and extowner = current_user::text::regrole) then
    drop extension btree_gin;
  end if;
end $$;
