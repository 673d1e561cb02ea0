-- Up Migration
create table audit_events (
  id bigint generated always as identity primary key,
  tenant_id uuid not null references tenants (id)
    default nullif(current_setting('app.current_tenant_id', true), '')::uuid,
  at timestamptz(3) not null default now(),
  subject text not null,
  action text not null,
  outcome text not null check (outcome in ('success', 'failure')),
  target text,
  detail jsonb not null default '{}',
  request_id text
);
create index audit_events_newest_first on audit_events (tenant_id, id desc);

alter table audit_events enable row level security;
alter table audit_events force row level security;
create policy own_tenant on audit_events
  using (tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid);

-- Append-only: neither update nor delete is granted, and whose event it is and when it was is not the app's to say.
grant select on audit_events to app_user;
grant insert (subject, action, outcome, target, detail, request_id) on audit_events to app_user;
grant select on audit_events to app_readonly, app_backup;

-- Down Migration
drop table audit_events;
