-- Who may sign in as what. Each role lets itself in by one password and its deputy by another, by turns: while both are valid,
-- whoever signs in can move from one to the other. The deputy acts as the role from its first statement on, so that it owns
-- nothing and needs no rights of its own. A password that is not mounted locks out who had it. Runs whenever the files change.
\set owner `cat /run/secrets/groundwork/owner-password 2>/dev/null || true`
\set owner_2 `cat /run/secrets/groundwork/owner-password-2 2>/dev/null || true`
\set app `cat /run/secrets/groundwork/app-password 2>/dev/null || true`
\set app_2 `cat /run/secrets/groundwork/app-password-2 2>/dev/null || true`
\set readonly `cat /run/secrets/groundwork/readonly-password 2>/dev/null || true`
\set readonly_2 `cat /run/secrets/groundwork/readonly-password-2 2>/dev/null || true`
\set backup `cat /run/secrets/groundwork/backup-password 2>/dev/null || true`
\set backup_2 `cat /run/secrets/groundwork/backup-password-2 2>/dev/null || true`

SELECT
  CASE WHEN to_regrole(deputy) IS NULL THEN format('CREATE ROLE %I CONNECTION LIMIT %s', deputy, rolconnlimit) END,
  CASE WHEN to_regrole(deputy) IS NULL THEN format('GRANT %I TO %I', rolname, deputy) END,
  format('ALTER ROLE %I SET role = %L', deputy, rolname),
  format('ALTER ROLE %I %s PASSWORD %L', rolname, CASE own WHEN '' THEN 'NOLOGIN' ELSE 'LOGIN' END, nullif(own, '')),
  format('ALTER ROLE %I %s PASSWORD %L', deputy, CASE other WHEN '' THEN 'NOLOGIN' ELSE 'LOGIN' END, nullif(other, ''))
FROM (
  VALUES
    ('app_owner', :'owner', :'owner_2'),
    ('app_user', :'app', :'app_2'),
    ('app_readonly', :'readonly', :'readonly_2'),
    ('app_backup', :'backup', :'backup_2')
) AS account (name, own, other)
JOIN pg_roles ON rolname = name
CROSS JOIN LATERAL (VALUES (name || '_2')) AS deputies (deputy)
\gexec
