-- Up Migration
-- A generated column is not part of a dump: every restore made the terms of every document anew, half a megabyte of text a
-- second. A trigger's column is dumped with its row. What is there keeps its terms, and nothing is rewritten.
alter table documents alter column search drop expression;
create function keep_search() returns trigger
  language plpgsql as $$
  begin
    new.search := public.search_vector(new.title, new.content);
    return new;
  end
  $$;
create trigger keep_search before insert or update of title, content on documents
  for each row execute function keep_search();

-- Down Migration
drop trigger keep_search on documents;
drop function keep_search();
-- The search reads the column: it steps aside as it is, for a column cannot become a generated one.
do $$
  declare
    search text := pg_get_functiondef('search_documents'::regproc);
  begin
    drop function search_documents;
    alter table documents drop column search;
    alter table documents add column search tsvector not null
      generated always as (search_vector(title, content)) stored;
    execute search;
  end
$$;
revoke execute on function search_documents from public;
grant execute on function search_documents to app_user;
create index documents_search on documents using gin (tenant_id, search) with (fastupdate = off);
