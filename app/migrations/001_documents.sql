-- Up Migration
create table tenants (
  id uuid primary key,
  name text not null unique check (name <> ''),
  created_at timestamptz(3) not null default now()
);

-- Not forced: find_tenant below runs as the owner, and must see every name.
alter table tenants enable row level security;
create policy own_tenant on tenants
  using (id = nullif(current_setting('app.current_tenant_id', true), '')::uuid);

-- At sign-in the tenant is known by name only. This look-up is all that the app's role gets past the policy.
create function find_tenant(tenant_name text) returns uuid
  language sql stable security definer set search_path = pg_catalog, public
  begin atomic
    select id from public.tenants where name = tenant_name;
  end;
revoke execute on function find_tenant(text) from public;

create table documents (
  id uuid primary key default gen_random_uuid(),
  -- Never named by the app: it is whatever tenant the transaction runs as. (After a transaction that set it, the
  -- setting reads '' rather than null, hence nullif.)
  tenant_id uuid not null references tenants (id)
    default nullif(current_setting('app.current_tenant_id', true), '')::uuid,
  title text not null,
  content text not null,
  created_by text not null,
  -- Milliseconds, as JavaScript dates have them: they are part of the list's cursor.
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now()
);
create index documents_newest_first on documents (tenant_id, created_at desc, id desc);

alter table documents enable row level security;
alter table documents force row level security;
create policy own_tenant on documents
  using (tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid);

grant select on pgmigrations to app_user;
grant select, insert on tenants to app_user;
grant execute on function find_tenant(text) to app_user;
grant select, delete on documents to app_user;
grant insert (id, title, content, created_by) on documents to app_user;
grant update (title, content, updated_at) on documents to app_user;

grant select on tenants, documents to app_readonly;
grant select on pgmigrations, tenants, documents to app_backup;

-- Down Migration
revoke all on pgmigrations from app_user, app_backup;
drop table documents;
drop function find_tenant(text);
drop table tenants;
