-- Up Migration
create table chat_answers (
  id uuid primary key,
  tenant_id uuid not null references tenants (id)
    default nullif(current_setting('app.current_tenant_id', true), '')::uuid,
  session_id uuid not null,
  subject text not null,
  -- Both encrypted by the app.
  question text not null,
  answer text not null,
  model text not null,
  degraded boolean not null,
  feedback smallint check (feedback in (-1, 1)),
  created_at timestamptz(3) not null default now()
);
create index chat_answers_newest_first on chat_answers (tenant_id, created_at desc, id desc);

alter table chat_answers enable row level security;
alter table chat_answers force row level security;
create policy own_tenant on chat_answers
  using (tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid);

grant select on chat_answers to app_user;
grant insert (id, session_id, subject, question, answer, model, degraded) on chat_answers to app_user;
-- The texts, too: they are encrypted again when the key changes.
grant update (feedback, question, answer) on chat_answers to app_user;
grant select on chat_answers to app_readonly, app_backup;

-- Down Migration
drop table chat_answers;
