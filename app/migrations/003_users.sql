-- Up Migration
create table users (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null references tenants (id)
    default nullif(current_setting('app.current_tenant_id', true), '')::uuid,
  -- As src/users/user.ts has it: a directory matches names loosely, and no second spelling may pass for a second user.
  username text not null check (username ~ '^[a-z0-9][a-z0-9._@+-]{0,99}$'),
  source text not null check (source in ('local', 'ldap')),
  password_hash text,
  role text not null check (role in ('admin', 'editor', 'viewer')),
  -- Encrypted by the app (src/crypto/fieldCipher.ts).
  email text,
  disabled_at timestamptz(3),
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  unique (tenant_id, username),
  unique (tenant_id, id),
  check ((source = 'local') = (password_hash is not null))
);

alter table users enable row level security;
alter table users force row level security;
create policy own_tenant on users
  using (tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid);

-- Only hashes are kept: who reads this table (or a dump of it) cannot refresh with what is in it.
create table refresh_tokens (
  token_hash bytea primary key check (length(token_hash) = 32),
  tenant_id uuid not null references tenants (id)
    default nullif(current_setting('app.current_tenant_id', true), '')::uuid,
  family_id uuid not null,
  user_id uuid not null,
  created_at timestamptz(3) not null default now(),
  expires_at timestamptz(3) not null,
  used_at timestamptz(3),
  revoked_at timestamptz(3),
  foreign key (tenant_id, user_id) references users (tenant_id, id)
);
create index refresh_tokens_by_user on refresh_tokens (tenant_id, user_id);
create index refresh_tokens_by_family on refresh_tokens (tenant_id, family_id);

alter table refresh_tokens enable row level security;
alter table refresh_tokens force row level security;
create policy own_tenant on refresh_tokens
  using (tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid);

grant select on users, refresh_tokens to app_user;
grant insert (username, source, password_hash, role, email) on users to app_user;
grant update (password_hash, role, email, disabled_at, updated_at) on users to app_user;
grant insert (token_hash, family_id, user_id, expires_at), update (used_at, revoked_at), delete
  on refresh_tokens to app_user;

grant select (id, tenant_id, username, source, role, disabled_at, created_at, updated_at) on users to app_readonly;
grant select on users, refresh_tokens to app_backup;

-- Down Migration
drop table refresh_tokens;
drop table users;
