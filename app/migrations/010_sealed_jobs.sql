-- Up Migration
-- What a caller has the language model asked, and what it said: JSON that only the app can read, where the job's kind has it so.
alter table jobs add column sealed_payload text, add column sealed_result text;
grant insert (sealed_payload), update (sealed_payload, sealed_result) on jobs to app_user;

-- Down Migration
-- The version before cannot read what these were to do.
update jobs set state = 'dead', finished_at = now(), error = 'the job cannot be read since a migration was taken back'
  where sealed_payload is not null and state in ('pending', 'queued');
alter table jobs drop column sealed_payload, drop column sealed_result;
