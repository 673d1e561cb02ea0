-- Who may sign in as what. Each role lets itself in by one password and its deputy by another, by turns: while both are valid,
-- whoever signs in can move from one to the other. The deputy acts as the role from its first statement on, so that it owns
-- nothing and needs no rights of its own. A password that is not mounted locks out who had it. Runs whenever the files change.
-- Passwords are sent as verifiers only. Where those could not be made, this is no JSON, and nothing is changed.
\set verifiers `python3 verifiers.py owner app readonly backup`

SELECT
  CASE WHEN to_regrole(deputy) IS NULL THEN format('CREATE ROLE %I CONNECTION LIMIT %s', deputy, rolconnlimit) END,
  CASE WHEN to_regrole(deputy) IS NULL THEN format('GRANT %I TO %I', rolname, deputy) END,
  format('ALTER ROLE %I SET role = %L', deputy, rolname),
  format('ALTER ROLE %I %s PASSWORD %L', rolname, CASE WHEN own IS NULL THEN 'NOLOGIN' ELSE 'LOGIN' END, own),
  format('ALTER ROLE %I %s PASSWORD %L', deputy, CASE WHEN other IS NULL THEN 'NOLOGIN' ELSE 'LOGIN' END, other)
FROM (VALUES ('app_owner', 'owner'), ('app_user', 'app'), ('app_readonly', 'readonly'), ('app_backup', 'backup'))
  AS account (name, mounted)
JOIN pg_roles ON rolname = name
CROSS JOIN (SELECT :'verifiers'::json) AS made (verifiers)
CROSS JOIN LATERAL (
  VALUES (name || '_2', verifiers ->> (mounted || '-password'), verifiers ->> (mounted || '-password-2'))
) AS logins (deputy, own, other)
\gexec
