/** The documents that `make dr-drill` loses and brings back. */
import type { Cluster } from "./cluster.ts";
import { inServiceSql } from "./database.ts";

/** A few words each; or, for a large database, `kib` KiB in one long word that hardly compresses. What an interrupted drill still loads is ended. */
export async function loadDocuments(
  cluster: Cluster,
  tenant: string,
  rows: number,
  kib: number,
): Promise<void> {
  await inServiceSql(
    cluster,
    `set client_min_messages = warning;
    select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = '${tenant}';
    set application_name = '${tenant}';
    insert into tenants (id, name) values (gen_random_uuid(), '${tenant}') on conflict (name) do nothing;
    delete from documents where tenant_id = (select id from tenants where name = '${tenant}');
    ${kib === 0 ? fewWords(tenant, rows) : longWord(tenant, rows, kib)}`,
  );
}

const fewWords = (tenant: string, rows: number): string => `
  insert into documents (tenant_id, title, content, created_by)
  select id, 'Loaded ' || number, repeat(md5(number::text) || ' ', 8), 'loader'
  from tenants, generate_series(1, ${rows}) number where name = '${tenant}'`;

/**
 * Of a word the first hundred letters are its term: so much is known without the trigger, which would take most of the time. A
 * word comes again after a thousand others, further away than any compression looks.
 */
const longWord = (tenant: string, rows: number, kib: number): string => `
  set session_replication_role = replica;
  create temporary table words as
    select word, string_agg(md5(word || ' ' || part), '') as letters
    from generate_series(0, 999) word, generate_series(1, ${32 * kib}) part group by word;
  insert into documents (tenant_id, title, content, created_by, search)
  select id, title, letters, 'loader', search_vector(title, left(letters, 100))
  from tenants, generate_series(1, ${rows}) number join words on word = number % 1000,
    lateral (select 'Loaded ' || number as title) named
  where name = '${tenant}' order by number`;
