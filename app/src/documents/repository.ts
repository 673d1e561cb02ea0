import type { Pool, PoolClient } from "pg";
import { audit } from "../audit/audit.ts";
import type { Database } from "../db/database.ts";
import { Problem } from "../http/problem.ts";
import type { Cursor, SearchCursor } from "./cursor.ts";
import type { DocumentChange, DocumentInput, DocumentSummary, StoredDocument } from "./document.ts";

interface SummaryRow {
  id: string;
  title: string;
  created_by: string;
  created_at: Date;
  updated_at: Date;
}

interface DocumentRow extends SummaryRow {
  content: string;
}

const summaryColumns = "id, title, created_by, created_at, updated_at";
const columns = `${summaryColumns}, content`;

/** Documents in Postgres. No query names the tenant: row-level security does, by the transaction's setting. */
export class DocumentRepository {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async create(tenantId: string, subject: string, input: DocumentInput): Promise<StoredDocument> {
    return this.#database.asTenant(tenantId, async (client) => {
      const { rows } = await client.query<DocumentRow>(
        `insert into documents (title, content, created_by) values ($1, $2, $3) returning ${columns}`,
        [input.title, input.content, subject],
      );
      const [row] = rows;
      if (!row) {
        throw new Error("insert returned no row");
      }
      await audit(client, { subject, action: "document.create", target: `document/${row.id}` });
      return toDocument(row);
    });
  }

  async get(tenantId: string, id: string): Promise<StoredDocument | undefined> {
    const [row] = await this.#database.readAsTenant<DocumentRow>(
      tenantId,
      `select ${columns} from documents where id = $1`,
      [id],
    );
    return row && toDocument(row);
  }

  /**
   * @param expected the `updatedAt` that the caller has seen; undefined when any will do.
   * @returns undefined when there is no such document. @throws a 412 problem when it has changed since.
   */
  async update(
    tenantId: string,
    subject: string,
    id: string,
    change: DocumentChange,
    expected?: string,
  ): Promise<StoredDocument | undefined> {
    return this.#database.asTenant(
      tenantId,
      async (client) => {
        // Each version has an updated_at of its own, even of two in one millisecond: it is the ETag.
        const { rows } = await client.query<DocumentRow>(
          `update documents set title = coalesce($2, title), content = coalesce($3, content),
             updated_at = greatest(now(), updated_at + interval '1 ms')
           where id = $1 and ($4::timestamptz is null or updated_at = $4) returning ${columns}`,
          [id, change.title ?? null, change.content ?? null, expected ?? null],
        );
        const [row] = rows;
        if (row) {
          await audit(client, { subject, action: "document.update", target: `document/${id}` });
        } else {
          await refuseIfChanged(client, id, expected);
        }
        return row && toDocument(row);
      },
      // Done twice, it only leaves two audit events of one request; but its own first change would fail the second.
      { repeatable: expected === undefined },
    );
  }

  /** @returns whether there was such a document. @throws a 412 problem as `update` does. */
  async delete(tenantId: string, subject: string, id: string, expected?: string): Promise<boolean> {
    return this.#database.asTenant(tenantId, async (client) => {
      const { rowCount } = await client.query(
        "delete from documents where id = $1 and ($2::timestamptz is null or updated_at = $2)",
        [id, expected ?? null],
      );
      if (rowCount === 1) {
        await audit(client, { subject, action: "document.delete", target: `document/${id}` });
        return true;
      }
      await refuseIfChanged(client, id, expected);
      return false;
    });
  }

  /** Newest first. */
  async list(tenantId: string, limit: number, after: Cursor | undefined): Promise<DocumentSummary[]> {
    return this.#database.asTenant(
      tenantId,
      async (client) => {
        const { rows } = await client.query<SummaryRow>(
          `select ${summaryColumns} from documents
           where $2::timestamptz is null or (created_at, id) < ($2, $3::uuid)
           order by created_at desc, id desc limit $1`,
          [limit, after?.createdAt ?? null, after?.id ?? null],
        );
        return rows.map(toSummary);
      },
      { repeatable: true },
    );
  }

  /** The documents in which every term of the query occurs, best first; none when it holds no letter or digit. */
  async search(
    tenantId: string,
    query: string,
    limit: number,
    after: SearchCursor | undefined,
  ): Promise<(DocumentSummary & { rank: number })[]> {
    return this.#database.asTenant(
      tenantId,
      async (client) => {
        const { rows } = await client.query<SummaryRow & { rank: number }>(
          "select * from search_documents($1, $2, $3, $4, $5)",
          [query, limit, after?.rank ?? null, after?.createdAt ?? null, after?.id ?? null],
        );
        return rows.map((row) => ({ ...toSummary(row), rank: row.rank }));
      },
      { repeatable: true },
    );
  }
}

/**
 * How many documents there are, of all tenants; an estimate when they are many. Not by the requests' own pool: a scrape
 * must not wait for, nor take, what they need.
 */
export async function countDocuments(pool: Pool): Promise<number> {
  const { rows } = await pool.query<{ count: string }>("select count_documents() as count");
  return Number(rows[0]?.count ?? 0);
}

/** Why nothing was written: the document is not there, or not as it was. */
async function refuseIfChanged(client: PoolClient, id: string, expected: string | undefined): Promise<void> {
  if (expected !== undefined) {
    const { rowCount } = await client.query("select 1 from documents where id = $1", [id]);
    if (rowCount === 1) {
      throw new Problem(412, { detail: "the document has changed since: read it again" });
    }
  }
}

function toSummary(row: SummaryRow): DocumentSummary {
  return {
    id: row.id,
    title: row.title,
    createdBy: row.created_by,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}

function toDocument(row: DocumentRow): StoredDocument {
  return { ...toSummary(row), content: row.content };
}
